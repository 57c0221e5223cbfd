//! What is written: the very bytes, and what the official crate says to them.

use crate::common::{open, write};
use gristmill_safetensors::Safetensors;
use gristmill_tensor::{
    AtomicFile, Checkpoint, DType, Format, Metadata, ModelHeader, Shape, TensorInfo,
};
use proptest::collection::vec;
use proptest::prelude::*;
use safetensors::SafeTensors;

#[test]
fn writes_these_very_bytes() {
    let mut metadata = Metadata::default();
    metadata.set("safetensors.by", "me");
    metadata.set("general.architecture", "mpt");
    let tensors = [
        (TensorInfo::new("b", DType::U8, [3]), vec![1, 2, 3]),
        (TensorInfo::new("a", DType::F32, []), vec![0, 0, 128, 63]),
    ];
    let json = concat!(
        r#"{"__metadata__":{"format":"pt","by":"me"},"#,
        r#""b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"#,
        r#""a":{"dtype":"F32","shape":[],"data_offsets":[3,7]}}"#,
    );
    let padded = format!("{json:<width$}", width = json.len().next_multiple_of(8));
    let mut expected = (padded.len() as u64).to_le_bytes().to_vec();
    expected.extend(padded.as_bytes());
    expected.extend([1, 2, 3, 0, 0, 128, 63]);
    assert_eq!(write(&metadata, &tensors).unwrap(), expected);
}

#[test]
fn models_that_safetensors_cannot_hold_are_refused_before_anything_is_written() {
    let vector = |name: &str, dtype| TensorInfo::new(name, dtype, [32]);
    let cases: [(&str, Vec<TensorInfo>); 6] = [
        ("occurs twice", vec![vector("a", DType::F32), vector("a", DType::F32)]),
        ("only plain numbers", vec![vector("a", DType::Q4_0)]),
        ("a name that the format does not allow", vec![vector("__metadata__", DType::F32)]),
        ("a name of 513 bytes", vec![vector(&"n".repeat(513), DType::F32)]),
        ("9 dimensions", vec![TensorInfo::new("a", DType::F32, [1; 9])]),
        ("more bytes", vec![TensorInfo::new("a", DType::F32, [usize::MAX, 2])]),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (words, tensors) in cases {
        let file = AtomicFile::create(folder.path().join("model.safetensors"), false).unwrap();
        let header = ModelHeader { metadata: &Metadata::default(), tensors: &tensors };
        let message = Safetensors.create(file, &header).err().unwrap().to_string();
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Tensors of every plain dtype, some without any element.
fn tensors() -> impl Strategy<Value = Vec<(TensorInfo, Vec<u8>)>> {
    let plain = DType::ALL.iter().copied().filter(|dtype| !dtype.is_quantized());
    let dtypes: Vec<DType> = plain.collect();
    let tensor =
        ("[^\\p{Cc}]{1,8}", prop::sample::select(dtypes), vec(0usize..4, 0..5), any::<u8>());
    vec(tensor, 0..8).prop_map(|tensors| {
        let build =
            |(number, (name, dtype, dims, seed)): (usize, (String, DType, Vec<usize>, u8))| {
                let info = TensorInfo::new(format!("{name}{number}"), dtype, Shape::new(dims));
                let bytes =
                    (0..info.n_bytes()).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
                (info, bytes)
            };
        tensors.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_it_wrote_and_so_does_the_official_crate(
        tensors in tensors(),
        texts in vec(("[a-z]{1,5}", ".{0,9}"), 0..4),
    ) {
        let mut metadata = Metadata::new("test.safetensors");
        metadata.set("safetensors.format", "pt");
        texts.into_iter().for_each(|(key, text)| metadata.set(format!("safetensors.{key}"), text));
        let bytes = write(&metadata, &tensors).unwrap();

        let model = open(&bytes).unwrap();
        prop_assert_eq!(model.metadata(), &metadata);
        // The order of the data is that in which the tensors were given, also of those without elements.
        let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
        prop_assert_eq!(model.tensors(), &infos[..]);

        let official = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(official.len(), tensors.len());
        for (info, expected) in &tensors {
            prop_assert_eq!(&*model.tensor(&info.name).unwrap().bytes, &expected[..]);
            let view = official.tensor(&info.name).unwrap();
            prop_assert_eq!(view.data(), &expected[..]);
            prop_assert_eq!(view.shape(), info.shape.dims());
            prop_assert_eq!(view.dtype().to_string(), info.dtype.name());
        }
    }
}
