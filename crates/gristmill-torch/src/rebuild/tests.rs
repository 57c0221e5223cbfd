#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use super::*;

fn storage() -> Plain {
    let class = Plain::Global("torch.FloatStorage".into());
    let text = |text: &str| Plain::Text(text.into());
    Plain::Storage(vec![text("storage"), class, text("0"), text("cpu"), Plain::Int(100)])
}

fn ints(values: &[i64]) -> Plain {
    Plain::Seq(values.iter().map(|&value| Plain::Int(value)).collect())
}

fn call(function: &str, args: Vec<Plain>) -> Plain {
    Plain::Call(Box::new(Plain::Global(format!("torch._utils.{function}"))), args)
}

fn rebuilt(value: Plain) -> Result<StateDict> {
    let root = Plain::Dict(vec![(Plain::Text("w".into()), value)]);
    rebuild(&root, "test", &Limits::default())
}

fn view(offset: i64, size: &[i64], stride: &[i64]) -> Result<StateDict> {
    rebuilt(call(
        "_rebuild_tensor_v2",
        vec![storage(), Plain::Int(offset), ints(size), ints(stride)],
    ))
}

#[test]
fn a_view_up_to_the_last_element_is_inside() {
    for (offset, size, stride) in [
        (0, [10, 10], [10, 1]),
        (99, [1, 1], [1 << 60, 1 << 60]),
        (0, [100, 1 << 10], [1, 0]),
        (90, [10, 1], [1, 100]),
        (1 << 40, [0, 5], [1, 1]),
    ] {
        assert!(view(offset, &size, &stride).is_ok(), "{offset} {size:?} {stride:?}");
    }
}

#[test]
fn a_view_past_the_last_element_or_with_negative_numbers_is_refused() {
    for (offset, size, stride) in [
        (1, vec![10, 10], vec![10, 1]),
        (100, vec![1], vec![1]),
        (100, vec![], vec![]),
        (0, vec![101], vec![1]),
        (0, vec![2], vec![100]),
        (0, vec![2], vec![i64::MAX]),
        (i64::MAX, vec![i64::MAX, i64::MAX], vec![i64::MAX, i64::MAX]),
        (-1, vec![1], vec![1]),
        (0, vec![-1], vec![1]),
        (0, vec![2], vec![-1]),
        (0, vec![2, 2], vec![1]),
    ] {
        let error = view(offset, &size, &stride).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{offset} {size:?} {stride:?}: {error}");
        assert!(error.to_string().contains("tensor w"), "{error}");
    }
}

#[test]
fn more_dimensions_or_longer_names_than_the_limits_allow_are_refused() {
    assert!(matches!(view(0, &[1; 9], &[1; 9]), Err(Error::Limit { .. })));
    let name = Plain::Text("n".repeat(513));
    let tensor = call("_rebuild_tensor", vec![storage(), Plain::Int(0), ints(&[1]), ints(&[1])]);
    let root = Plain::Dict(vec![(name, tensor)]);
    assert!(matches!(rebuild(&root, "test", &Limits::default()), Err(Error::Limit { .. })));
}

#[test]
fn one_key_means_one_storage() {
    let other = match storage() {
        Plain::Storage(mut id) => {
            id[4] = Plain::Int(99);
            Plain::Storage(id)
        }
        other => other,
    };
    let tensor =
        |storage| call("_rebuild_tensor", vec![storage, Plain::Int(0), ints(&[1]), ints(&[1])]);
    let root = |second| {
        Plain::Dict(vec![
            (Plain::Text("a".into()), tensor(storage())),
            (Plain::Text("b".into()), tensor(second)),
        ])
    };
    let state = rebuild(&root(storage()), "test", &Limits::default()).unwrap();
    assert_eq!((state.storages.len(), state.tensors.len()), (1, 2));
    assert!(rebuild(&root(other), "test", &Limits::default()).is_err());
}

#[test]
fn calls_that_torch_does_not_make_are_refused() {
    let parameter = |inner| call("_rebuild_parameter", vec![inner]);
    let tensor = || call("_rebuild_tensor", vec![storage(), Plain::Int(0), ints(&[1]), ints(&[1])]);
    assert!(rebuilt(parameter(tensor())).is_ok());
    let wrapped_often = (0..9).fold(tensor(), |inner, _| parameter(inner));
    for value in [
        wrapped_often,
        parameter(Plain::Int(1)),
        parameter(storage()),
        call("_rebuild_parameter", vec![]),
        call("_rebuild_tensor_v2", vec![]),
        call("_rebuild_tensor_v2", vec![Plain::Int(0), Plain::Int(0), ints(&[1]), ints(&[1])]),
        call("_rebuild_tensor_v2", vec![storage(), Plain::Int(0), Plain::None, ints(&[1])]),
        call("_rebuild_tensor_v3", vec![storage(), Plain::Int(0), ints(&[1]), ints(&[1])]),
        call(
            "_rebuild_tensor_v2",
            vec![Plain::Storage(vec![]), Plain::Int(0), ints(&[1]), ints(&[1])],
        ),
    ] {
        assert!(rebuilt(value).is_err());
    }
}

#[test]
fn a_root_without_tensors_is_refused() {
    for root in [Plain::Int(5), Plain::Seq(vec![]), storage(), Plain::Other] {
        let error = rebuild(&root, "test", &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("dictionary of tensors"), "{error}");
    }
    let settings = Plain::Dict(vec![(Plain::Int(1), Plain::Int(2))]);
    assert!(matches!(rebuild(&settings, "test", &Limits::default()), Err(Error::Missing { .. })));
}
