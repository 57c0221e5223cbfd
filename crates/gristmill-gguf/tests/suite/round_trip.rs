//! What is written is read back, whatever it is.

use crate::common::{open, write};
use gristmill_tensor::{Checkpoint, DType, MetaArray, MetaValue, Metadata, TensorInfo};
use proptest::collection::vec;
use proptest::prelude::*;

/// Values of every type. Floats are made of bits, so that NaNs must survive too; they are compared as bits below.
fn meta_value() -> impl Strategy<Value = MetaValue> {
    let scalar = prop_oneof![
        any::<u8>().prop_map(MetaValue::U8),
        any::<i8>().prop_map(MetaValue::I8),
        any::<u16>().prop_map(MetaValue::U16),
        any::<i16>().prop_map(MetaValue::I16),
        any::<u32>().prop_map(MetaValue::U32),
        any::<i32>().prop_map(MetaValue::I32),
        any::<u64>().prop_map(MetaValue::U64),
        any::<i64>().prop_map(MetaValue::I64),
        any::<u32>().prop_map(|bits| MetaValue::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| MetaValue::F64(f64::from_bits(bits))),
        any::<bool>().prop_map(MetaValue::Bool),
        ".{0,12}".prop_map(MetaValue::String),
    ];
    let array = prop_oneof![
        vec(any::<u8>(), 0..5).prop_map(MetaArray::U8),
        vec(any::<i8>(), 0..5).prop_map(MetaArray::I8),
        vec(any::<u16>(), 0..5).prop_map(MetaArray::U16),
        vec(any::<i16>(), 0..5).prop_map(MetaArray::I16),
        vec(any::<u32>(), 0..5).prop_map(MetaArray::U32),
        vec(any::<i32>(), 0..5).prop_map(MetaArray::I32),
        vec(any::<u64>(), 0..5).prop_map(MetaArray::U64),
        vec(any::<i64>(), 0..5).prop_map(MetaArray::I64),
        vec(any::<f32>(), 0..5).prop_map(MetaArray::F32),
        vec(any::<f64>(), 0..5).prop_map(MetaArray::F64),
        vec(any::<bool>(), 0..5).prop_map(MetaArray::Bool),
        vec(".{0,6}", 0..5).prop_map(MetaArray::String),
        vec(vec(any::<u8>(), 0..6), 0..5).prop_map(|mut values| {
            values.push(vec![0xff]); // never UTF-8
            MetaArray::Bytes(values)
        }),
    ];
    prop_oneof![scalar, array.prop_map(MetaValue::Array)]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let alignment = prop::option::of(3u32..=10);
    (vec(("[a-z][a-z0-9_.]{0,12}", meta_value()), 0..12), alignment).prop_map(
        |(entries, alignment)| {
            let mut metadata = Metadata::new("test.gguf");
            entries.into_iter().for_each(|(key, value)| metadata.set(key, value));
            if let Some(shift) = alignment {
                metadata.set("general.alignment", 1u32 << shift);
            }
            metadata
        },
    )
}

/// A tensor of every dtype that ggml knows, filled from a seed.
fn tensors() -> impl Strategy<Value = Vec<(TensorInfo, Vec<u8>)>> {
    let dtypes: Vec<DType> =
        DType::ALL.iter().copied().filter(|dtype| dtype.ggml_id().is_some()).collect();
    let tensor = (prop::sample::select(dtypes), vec(1usize..4, 0..3), 1usize..3, any::<u8>());
    vec(tensor, 0..8).prop_map(|tensors| {
        let build =
            |(number, (dtype, mut dims, blocks, seed)): (usize, (DType, Vec<usize>, usize, u8))| {
                dims.push(blocks * dtype.block_len());
                let info = TensorInfo::new(
                    format!("blk.{number}.weight"),
                    dtype,
                    gristmill_tensor::Shape::new(dims),
                );
                let bytes =
                    (0..info.n_bytes()).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
                (info, bytes)
            };
        tensors.into_iter().enumerate().map(build).collect()
    })
}

/// Equality in which a NaN equals itself.
fn same_text(a: &Metadata, b: &Metadata) -> bool {
    a.len() == b.len()
        && a.iter().zip(b.iter()).all(|((a_key, a), (b_key, b))| {
            let same = match (a, b) {
                (MetaValue::F32(a), MetaValue::F32(b)) => a.to_bits() == b.to_bits(),
                (MetaValue::F64(a), MetaValue::F64(b)) => a.to_bits() == b.to_bits(),
                (a, b) => a == b,
            };
            a_key == b_key && same
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_it_wrote(metadata in metadata(), tensors in tensors()) {
        let bytes = write(&metadata, &tensors).unwrap();
        let model = open(&bytes).unwrap();
        prop_assert!(same_text(model.metadata(), &metadata), "{:?} is not {:?}", model.metadata(), metadata);
        let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
        prop_assert_eq!(model.tensors(), &infos[..]);
        for (info, expected) in &tensors {
            prop_assert_eq!(&*model.tensor(&info.name).unwrap().bytes, &expected[..]);
            let row = model.read(&info.name, 0..1).unwrap();
            prop_assert_eq!(&*row, &expected[..info.row_bytes()]);
        }
        prop_assert_eq!(model.format(), "GGUF v3");
    }
}
