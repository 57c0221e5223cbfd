//! The pickle of a new checkpoint: an `OrderedDict` of tensors, protocol 2.
//!
//! ```text
//! OrderedDict()
//!   name ─▶ torch._utils._rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())
//!                                             └ ("storage", torch.FloatStorage, "0", "cpu", numel)
//! ```
//!
//! These are the calls that torch itself writes and that its loader of weights alone permits. torch also enters every
//! value into a memo; here nothing is referred to twice, so there is none. Source: `torch/serialization.py`,
//! `torch/_weights_only_unpickler.py`.

use gristmill_tensor::TensorInfo;

use crate::names;

/// The state dict of `tensors`, of which the one at position n has the storage `n` to itself. The error says of which
/// tensor torch could not have this.
pub(crate) fn state_dict(tensors: &[TensorInfo]) -> Result<Vec<u8>, String> {
    let mut pickle = Pickle { out: b"\x80\x02".to_vec() };
    pickle.ordered_dict();
    for (number, info) in tensors.iter().enumerate() {
        pickle.text(&info.name);
        pickle.tensor(number, info).map_err(|what| format!("tensor {} {what}", info.name))?;
        pickle.out.push(b's');
    }
    pickle.out.push(b'.');
    Ok(pickle.out)
}

/// A pickle being written; each method adds the opcodes that push one value.
struct Pickle {
    out: Vec<u8>,
}

impl Pickle {
    fn tensor(&mut self, number: usize, info: &TensorInfo) -> Result<(), String> {
        let class = names::storage_class(info.dtype).ok_or_else(|| no_storage(info))?;
        let dims: Vec<i64> = info
            .shape
            .dims()
            .iter()
            .map(|&dim| i64::try_from(dim).ok())
            .collect::<Option<_>>()
            .ok_or("has an extent that torch cannot count")?;
        let numel = info.shape.checked_numel().and_then(|numel| i64::try_from(numel).ok());
        let numel = numel.ok_or("has more elements than torch can count")?;
        let strides = strides(&dims).ok_or("has strides that torch cannot count")?;

        self.global("torch._utils", "_rebuild_tensor_v2");
        self.out.push(b'(');
        self.storage(class, number, numel);
        self.int(0);
        self.ints(&dims);
        self.ints(&strides);
        self.out.push(0x89); // NEWFALSE: no gradient is required
        self.ordered_dict(); // no hooks
        self.out.extend(b"tR");
        Ok(())
    }

    /// The persistent id that stands for a storage, and the opcode that fetches it.
    fn storage(&mut self, class: &str, number: usize, numel: i64) {
        self.out.push(b'(');
        self.text("storage");
        self.global("torch", class);
        self.text(&number.to_string());
        self.text("cpu");
        self.int(numel);
        self.out.extend(b"tQ");
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.out.extend(b")R");
    }

    fn global(&mut self, module: &str, name: &str) {
        self.out.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'X');
        let len = u32::try_from(text.len()).expect("names have been checked and are short");
        self.out.extend(len.to_le_bytes());
        self.out.extend(text.as_bytes());
    }

    fn ints(&mut self, values: &[i64]) {
        self.out.push(b'(');
        values.iter().for_each(|&value| self.int(value));
        self.out.push(b't');
    }

    /// A number from 0 up, in the shortest of the forms that Python writes.
    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.out.extend([b'K', byte]);
        } else if let Ok(short) = u16::try_from(value) {
            self.out.push(b'M');
            self.out.extend(short.to_le_bytes());
        } else if let Ok(int) = i32::try_from(value) {
            self.out.push(b'J');
            self.out.extend(int.to_le_bytes());
        } else {
            self.out.extend([0x8a, 8]);
            self.out.extend(value.to_le_bytes());
        }
    }
}

/// How many elements lie between neighbors along each dimension of a tensor without gaps. As in torch, an extent of 0
/// counts as 1.
fn strides(dims: &[i64]) -> Option<Vec<i64>> {
    let mut strides = vec![1i64; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i].checked_mul(dims[i].max(1))?;
    }
    Some(strides)
}

/// Why a tensor of this type cannot be stored.
fn no_storage(info: &TensorInfo) -> String {
    let dtype = info.dtype;
    if dtype.is_quantized() {
        format!(
            "is {dtype}, but PyTorch checkpoints hold only plain numbers; dequantize it or write GGUF"
        )
    } else {
        format!(
            "is {dtype}, for which PyTorch has no typed storage; convert it or write safetensors"
        )
    }
}

#[cfg(test)]
mod tests {
    use gristmill_tensor::DType;

    use super::*;

    #[test]
    fn a_state_dict_is_these_very_opcodes() {
        let tensors = [TensorInfo::new("w", DType::F16, [300, 2])];
        let expected = [
            b"\x80\x02ccollections\nOrderedDict\n)R".as_slice(),
            b"X\x01\0\0\0w",
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            b"(X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\x000X\x03\0\0\0cpuM\x58\x02tQ",
            b"K\0(M\x2c\x01K\x02t(K\x02K\x01t\x89ccollections\nOrderedDict\n)RtR",
            b"s.",
        ];
        assert_eq!(state_dict(&tensors).unwrap(), expected.concat());
    }

    #[test]
    fn strides_of_a_tensor_without_elements_are_torch_s() {
        assert_eq!(strides(&[2, 0, 3]), Some(vec![3, 3, 1]));
        assert_eq!(strides(&[]), Some(vec![]));
        assert_eq!(strides(&[0, i64::MAX, 2]), None);
    }
}
