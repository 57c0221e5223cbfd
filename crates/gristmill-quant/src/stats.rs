//! How far restored values are from the original ones.
//!
//! Sums are kept in `f64`, so a tensor of billions of elements can be measured slab by slab, and two threads' results
//! merged.

/// The error of restored values, accumulated over any number of slabs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ErrorStats {
    n_values: u64,
    squared_error: f64,
    max_error: f64,
    squared_original: f64,
    squared_restored: f64,
    product: f64,
}

impl ErrorStats {
    /// Adds one slab. Both slices are of one length.
    pub fn accumulate(&mut self, original: &[f32], restored: &[f32]) {
        assert_eq!(original.len(), restored.len(), "values are compared one to one");
        self.n_values += original.len() as u64;
        for (&original, &restored) in original.iter().zip(restored) {
            let (original, restored) = (f64::from(original), f64::from(restored));
            let error = (original - restored).abs();
            self.squared_error += error * error;
            self.max_error = self.max_error.max(error);
            self.squared_original += original * original;
            self.squared_restored += restored * restored;
            self.product += original * restored;
        }
    }

    /// Adds what another instance has seen.
    pub fn merge(&mut self, other: &ErrorStats) {
        self.n_values += other.n_values;
        self.squared_error += other.squared_error;
        self.max_error = self.max_error.max(other.max_error);
        self.squared_original += other.squared_original;
        self.squared_restored += other.squared_restored;
        self.product += other.product;
    }

    /// Values seen so far.
    pub fn n_values(&self) -> u64 {
        self.n_values
    }

    /// Root of the mean squared error; 0 before the first value.
    pub fn rmse(&self) -> f64 {
        if self.n_values == 0 { 0.0 } else { (self.squared_error / self.n_values as f64).sqrt() }
    }

    /// The largest absolute error.
    pub fn max(&self) -> f64 {
        self.max_error
    }

    /// Root of the mean square of the original values, the yardstick for [`rmse`](ErrorStats::rmse).
    pub fn rms(&self) -> f64 {
        if self.n_values == 0 { 0.0 } else { (self.squared_original / self.n_values as f64).sqrt() }
    }

    /// Cosine of the angle between the two vectors; 1 when both are zero, 0 when only one is.
    pub fn cosine(&self) -> f64 {
        if self.squared_original == 0.0 && self.squared_restored == 0.0 {
            return 1.0;
        }
        let norm = (self.squared_original * self.squared_restored).sqrt();
        if norm == 0.0 { 0.0 } else { self.product / norm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_a_small_example() {
        let mut stats = ErrorStats::default();
        stats.accumulate(&[3.0, 0.0], &[3.0, 4.0]);
        assert_eq!((stats.n_values(), stats.max()), (2, 4.0));
        assert_eq!(stats.rmse(), 8f64.sqrt());
        assert_eq!(stats.rms(), 4.5f64.sqrt());
        assert_eq!(stats.cosine(), 0.6);
    }

    #[test]
    fn merging_equals_one_pass() {
        let original: Vec<f32> = (0..100).map(|i| i as f32 / 8.0).collect();
        let restored: Vec<f32> = original.iter().map(|x| x.round()).collect();
        let (mut whole, mut left, mut right) = <(ErrorStats, ErrorStats, ErrorStats)>::default();
        whole.accumulate(&original, &restored);
        left.accumulate(&original[..37], &restored[..37]);
        right.accumulate(&original[37..], &restored[37..]);
        left.merge(&right);
        assert_eq!(left, whole);
    }

    #[test]
    fn nothing_and_zeros_are_perfect() {
        let mut stats = ErrorStats::default();
        assert_eq!((stats.rmse(), stats.max(), stats.cosine()), (0.0, 0.0, 1.0));
        stats.accumulate(&[0.0], &[0.0]);
        assert_eq!((stats.rmse(), stats.rms(), stats.cosine()), (0.0, 0.0, 1.0));
        stats.accumulate(&[0.0], &[1.0]);
        assert_eq!(stats.cosine(), 0.0);
    }
}
