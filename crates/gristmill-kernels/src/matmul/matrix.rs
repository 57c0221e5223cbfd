//! A weight matrix as it is stored: rows of blocks, used in place.

use gristmill_quant::codec;
use gristmill_tensor::{DType, Error, Result, Tensor};

/// The weight of a linear layer: `n_out` rows of `n_in` elements, in any type that can be dequantized.
///
/// The bytes are those of the tensor (usually a slice of the mapped file), not a copy, and need no alignment.
#[derive(Clone, Debug)]
pub struct Matrix {
    tensor: Tensor,
    n_out: usize,
    n_in: usize,
    row_bytes: usize,
}

impl Matrix {
    /// A view of `tensor` as a matrix: the innermost dimension is `n_in`, all others together are `n_out`.
    ///
    /// Every length is checked here, so the kernels need not look again.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a type without arithmetic, an empty tensor, or one whose bytes do not fit its shape.
    pub fn new(tensor: Tensor) -> Result<Matrix> {
        let info = &tensor.info;
        let refuse = |what: String| Error::unsupported(info.name.clone(), "weight", what);
        if codec(info.dtype).is_none() {
            return Err(refuse(format!("there is no arithmetic for {}", info.dtype)));
        }
        let n_bytes = info.checked_bytes().ok_or_else(|| {
            refuse(format!(
                "{} of shape {} is not whole blocks, or too large",
                info.dtype, info.shape
            ))
        })?;
        if n_bytes != tensor.bytes.len() as u64 || n_bytes == 0 {
            let found = tensor.bytes.len();
            return Err(refuse(format!(
                "{} of shape {} takes {n_bytes} bytes (at least one), but there are {found}",
                info.dtype, info.shape
            )));
        }
        let (n_out, n_in, row_bytes) = (info.shape.rows(), info.shape.row_len(), info.row_bytes());
        Ok(Matrix { tensor, n_out, n_in, row_bytes })
    }

    /// Number of rows: the width of the product.
    pub fn n_out(&self) -> usize {
        self.n_out
    }

    /// Elements per row: the width of the activations.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// How the elements are stored.
    pub fn dtype(&self) -> DType {
        self.tensor.info.dtype
    }

    /// The name of the tensor.
    pub fn name(&self) -> &str {
        &self.tensor.info.name
    }

    /// The stored rows, `n_out` times [`row_bytes`](Self::row_bytes).
    pub fn bytes(&self) -> &[u8] {
        &self.tensor.bytes
    }

    /// Bytes per row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Dequantizes one row (an embedding, say) into `out`, which has `n_in` elements.
    ///
    /// # Panics
    /// When `row` or the length of `out` is wrong.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.n_out && out.len() == self.n_in, "a row of this matrix");
        let bytes = &self.bytes()[row * self.row_bytes..][..self.row_bytes];
        dequantize(self.dtype(), bytes, out);
    }
}

/// Widens stored blocks of any type that [`Matrix::new`] accepts; exact for plain floats.
pub(crate) fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    let codec = codec(dtype).expect("`Matrix::new` accepts only types with a codec");
    (codec.dequantize)(bytes, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_tensor::{Bytes, Shape, TensorInfo};
    use half::f16;

    fn matrix(dtype: DType, shape: impl Into<Shape>, n_bytes: usize) -> Result<Matrix> {
        let bytes = Bytes::from(vec![0; n_bytes]);
        Matrix::new(Tensor { info: TensorInfo::new("w", dtype, shape), bytes })
    }

    #[test]
    fn refuses_bytes_that_do_not_fit_the_shape() {
        assert!(matrix(DType::F16, [3, 5], 30).is_ok());
        for n_bytes in [0, 29, 31] {
            assert!(matrix(DType::F16, [3, 5], n_bytes).is_err(), "{n_bytes}");
        }
        assert!(matrix(DType::F32, [0, 5], 0).is_err());
        assert!(matrix(DType::F32, [usize::MAX, 0], 0).is_err());
        assert!(matrix(DType::F32, [usize::MAX, 2], 8).is_err());
    }

    #[test]
    fn a_row_is_widened_exactly() {
        let bytes = [1.5f32, -2.0, 0.25, 7.0].map(f16::from_f32).map(f16::to_le_bytes).concat();
        let info = TensorInfo::new("w", DType::F16, [2, 2]);
        let matrix = Matrix::new(Tensor { info, bytes: Bytes::from(bytes) }).unwrap();
        let mut row = [0.0; 2];
        matrix.row_f32(1, &mut row);
        assert_eq!(row, [0.25, 7.0]);
    }
}
