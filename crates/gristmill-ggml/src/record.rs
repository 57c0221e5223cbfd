//! Tensor records: nothing counts them, so they are read until the file ends, which it must do behind the data of one.
//!
//! ```text
//! n_dims u32 │ name length u32 │ type u32 │ ne[n_dims] u32, innermost first │ name │ zeros to 32, maybe │ data
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use gristmill_tensor::{Cursor, DType, Result, Shape, TensorInfo};

/// What data begins at a multiple of in aligned containers.
pub(crate) const ALIGNMENT: u64 = 32;

const MAX_DIMS: u32 = 4;
/// The longest name of a tensor.
pub(crate) const MAX_NAME_BYTES: u32 = 255;
const MAX_TENSORS: usize = 1 << 16;

/// The type that a record's number means in a version of the block layouts.
pub(crate) fn dtype(id: u32, quant_version: u32) -> Option<DType> {
    match (id, quant_version) {
        (4, 0) => Some(DType::Q4_2),
        (5, 0) => Some(DType::Q4_3),
        // Types later than K-quants came after these containers.
        (0..=14, _) => DType::from_ggml_id(id)?.at_version(quant_version),
        _ => None,
    }
}

/// The same in version 0 as llama.cpp numbered on 25 April 2023, before Q5_0 took the number of Q8_0.
pub(crate) fn dtype_of_april(id: u32) -> Option<DType> {
    match id {
        6 => Some(DType::Q8_0_V1),
        7.. => None,
        id => dtype(id, 0),
    }
}

/// The number of a type in records.
pub(crate) fn id(dtype: DType) -> Option<u32> {
    match dtype {
        DType::Q4_2 => Some(4),
        DType::Q4_3 => Some(5),
        dtype => dtype.successor().unwrap_or(dtype).ggml_id(),
    }
}

/// Whether a record of a tensor that `knows` begins at the cursor, which does not move.
pub(crate) fn begins(cursor: &mut Cursor<'_>, knows: &dyn Fn(&str) -> bool) -> bool {
    let start = cursor.position();
    let mut name = || -> Result<Option<String>> {
        let (n_dims, name_len, id) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        if !(1..=MAX_DIMS).contains(&n_dims) || !(1..=MAX_NAME_BYTES).contains(&name_len) || id > 14
        {
            return Ok(None);
        }
        cursor.bytes(u64::from(n_dims).saturating_mul(4))?;
        Ok(String::from_utf8(cursor.bytes(name_len.into())?.to_vec()).ok())
    };
    let known = name().is_ok_and(|name| name.is_some_and(|name| knows(&name)));
    cursor.seek(start);
    known
}

/// Reads every record up to the end of the file; gives each tensor and the byte at which its data begins. `dtype` says
/// what a number means as a type.
pub(crate) fn read_all(
    cursor: &mut Cursor<'_>,
    dtype: &dyn Fn(u32) -> Option<DType>,
    is_aligned: bool,
    knows: &dyn Fn(&str) -> bool,
) -> Result<Vec<(TensorInfo, u64)>> {
    let mut tensors = Vec::new();
    while cursor.remaining() > 0 {
        let at = cursor.position();
        let number = tensors.len();
        if number == MAX_TENSORS {
            return Err(
                cursor.malformed_at(at, format!("there are more than {MAX_TENSORS} tensors"))
            );
        }
        let bad =
            |cursor: &Cursor<'_>, what| cursor.malformed_at(at, format!("tensor {number} {what}"));
        let (n_dims, name_len, id) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        if !(1..=MAX_DIMS).contains(&n_dims) {
            return Err(bad(cursor, format!("would have {n_dims} dimensions")));
        }
        if !(1..=MAX_NAME_BYTES).contains(&name_len) {
            return Err(bad(cursor, format!("would have a name of {name_len} bytes")));
        }
        let mut dims = Vec::new();
        for _ in 0..n_dims {
            dims.push(cursor.u32()? as usize);
        }
        dims.reverse();
        let name = cursor.bytes(name_len.into())?;
        let Some(name) = str::from_utf8(&name).ok().filter(|name| knows(name)) else {
            let shown = String::from_utf8_lossy(&name).escape_debug().to_string();
            return Err(bad(
                cursor,
                format!("is called \"{shown}\", which the architecture does not have"),
            ));
        };
        let Some(dtype) = dtype(id) else {
            let what = format!("({name}) has type {id}, unknown in such files");
            return Err(bad(cursor, what));
        };
        let info = TensorInfo::new(name, dtype, Shape::new(dims));
        if info.shape.dims().contains(&0) {
            return Err(bad(cursor, format!("({name}) has the shape {}", info.shape)));
        }
        let Some(n_bytes) = info.shape.checked_numel().and_then(|_| info.checked_bytes()) else {
            let what =
                format!("({name}) has the shape {}, which is not whole {dtype} blocks", info.shape);
            return Err(bad(cursor, what));
        };
        let file_end = cursor.position().saturating_add(cursor.remaining());
        let start = match is_aligned {
            true => cursor.position().checked_next_multiple_of(ALIGNMENT),
            false => Some(cursor.position()),
        };
        let place = start.and_then(|start| {
            let end = start.checked_add(n_bytes).filter(|&end| end <= file_end)?;
            Some((start, end))
        });
        let Some((start, end)) = place else {
            let what = format!(
                "({name}) has {n_bytes} bytes, more than are left; the file is cut short or damaged"
            );
            return Err(bad(cursor, what));
        };
        cursor.seek(end);
        tensors.push((info, start));
    }
    if tensors.is_empty() {
        return Err(cursor.malformed("the file ends before the first tensor; it is cut short"));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_mean_what_the_version_says() {
        assert_eq!(dtype(2, 0), Some(DType::Q4_0_V0));
        assert_eq!(dtype(2, 2), Some(DType::Q4_0));
        assert_eq!(dtype(6, 1), Some(DType::Q5_0));
        assert_eq!(dtype(8, 0), Some(DType::Q8_0_V1));
        assert_eq!(dtype(4, 1), None);
        assert_eq!(dtype(12, 1), None);
        assert_eq!(dtype(12, 2), Some(DType::Q4_K));
        assert_eq!(dtype(30, 2), None);
    }

    #[test]
    fn every_type_of_a_version_has_its_number_back() {
        for quant_version in 0..=2 {
            for number in 0..=14 {
                if let Some(dtype) = dtype(number, quant_version) {
                    assert_eq!(id(dtype), Some(number), "{dtype}");
                }
            }
        }
    }
}
