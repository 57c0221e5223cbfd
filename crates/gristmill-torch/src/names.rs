//! The names a checkpoint may mention, and what the ones that matter mean.
//!
//! A pickle refers to Python functions and classes by module and name. gristmill resolves none of them: a name on
//! the lists below becomes a piece of text, every other name is refused. Of the permitted names only the storage
//! classes, the element types and the rebuild functions (see [`rebuild`](crate::rebuild)) are ever looked at; the
//! rest may stand in parts of a training checkpoint that hold no tensors.

use gristmill_tensor::DType;

/// `torch.<class>`: a typed storage; `None` for elements that no [`DType`] describes.
const STORAGES: &[(&str, Option<DType>)] = &[
    ("FloatStorage", Some(DType::F32)),
    ("HalfStorage", Some(DType::F16)),
    ("BFloat16Storage", Some(DType::BF16)),
    ("DoubleStorage", Some(DType::F64)),
    ("LongStorage", Some(DType::I64)),
    ("IntStorage", Some(DType::I32)),
    ("ShortStorage", Some(DType::I16)),
    ("CharStorage", Some(DType::I8)),
    ("ByteStorage", Some(DType::U8)),
    ("BoolStorage", Some(DType::BOOL)),
    ("ComplexFloatStorage", None),
    ("ComplexDoubleStorage", None),
    ("QInt8Storage", None),
    ("QUInt8Storage", None),
    ("QInt32Storage", None),
    ("QUInt4x2Storage", None),
    ("QUInt2x4Storage", None),
];

/// `torch.<name>`: the type of the elements of a tensor over an untyped storage.
const ELEMENTS: &[(&str, Option<DType>)] = &[
    ("float32", Some(DType::F32)),
    ("float16", Some(DType::F16)),
    ("bfloat16", Some(DType::BF16)),
    ("float64", Some(DType::F64)),
    ("int64", Some(DType::I64)),
    ("int32", Some(DType::I32)),
    ("int16", Some(DType::I16)),
    ("int8", Some(DType::I8)),
    ("uint8", Some(DType::U8)),
    ("uint16", Some(DType::U16)),
    ("uint32", Some(DType::U32)),
    ("uint64", Some(DType::U64)),
    ("bool", Some(DType::BOOL)),
    ("float8_e4m3fn", Some(DType::F8_E4M3)),
    ("float8_e5m2", Some(DType::F8_E5M2)),
    ("float8_e4m3fnuz", None),
    ("float8_e5m2fnuz", None),
    ("float8_e8m0fnu", None),
    ("float4_e2m1fn_x2", None),
    ("complex32", None),
    ("complex64", None),
    ("complex128", None),
    ("qint8", None),
    ("quint8", None),
    ("qint32", None),
    ("quint4x2", None),
    ("quint2x4", None),
];

/// Every other permitted name, by module.
const OTHERS: &[(&str, &[&str])] = &[
    ("collections", &["OrderedDict"]),
    (
        "torch._utils",
        &[
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
            // Refused later, by the name of the tensor.
            "_rebuild_qtensor",
            "_rebuild_sparse_tensor",
            "_rebuild_sparse_csr_tensor",
            "_rebuild_nested_tensor",
            "_rebuild_device_tensor_from_numpy",
            "_rebuild_meta_tensor_no_storage",
            "_rebuild_wrapper_subclass",
        ],
    ),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch", &["Size", "device", "Tensor"]),
    ("torch.storage", &["UntypedStorage", "TypedStorage"]),
    ("torch.nn.parameter", &["Parameter"]),
    ("torch.serialization", &["_get_layout"]),
    ("_codecs", &["encode"]),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy", &["dtype", "ndarray"]),
    ("builtins", BUILTINS),
    ("__builtin__", BUILTINS),
    ("argparse", &["Namespace"]),
];

const BUILTINS: &[&str] = &["set", "bytearray", "dict", "list", "int", "float", "complex"];

/// Whether a pickle may mention `name` of `module`.
pub(crate) fn is_permitted(module: &str, name: &str) -> bool {
    let listed = |table: &[(&str, Option<DType>)]| table.iter().any(|(entry, _)| *entry == name);
    (module == "torch" && (listed(STORAGES) || listed(ELEMENTS)))
        || OTHERS.iter().any(|(entry, names)| *entry == module && names.contains(&name))
}

/// The dtype of the elements of the storage class `global`: `None` if it is not one, `Some(None)` if there is no
/// such [`DType`].
pub(crate) fn storage_dtype(global: &str) -> Option<Option<DType>> {
    look_up(STORAGES, global)
}

/// The storage class, without its module, whose elements are of type `dtype`.
pub(crate) fn storage_class(dtype: DType) -> Option<&'static str> {
    STORAGES.iter().find(|(_, elements)| *elements == Some(dtype)).map(|&(class, _)| class)
}

/// Bytes of an element of the storage class `global`; `None` if it is not one.
pub(crate) fn storage_width(global: &str) -> Option<u64> {
    match (global, storage_dtype(global)) {
        ("torch.storage.UntypedStorage", _) => Some(1),
        (_, Some(Some(dtype))) => Some(width(dtype)),
        ("torch.ComplexDoubleStorage", _) => Some(16),
        ("torch.ComplexFloatStorage", _) => Some(8),
        ("torch.QInt32Storage", _) => Some(4),
        // The other quantized ones, of which some keep several elements in a byte.
        (_, Some(None)) => Some(1),
        (_, None) => None,
    }
}

/// Bytes of one element of a plain dtype.
pub(crate) fn width(dtype: DType) -> u64 {
    u64::try_from(dtype.block_bytes()).expect("elements are a few bytes")
}

/// The dtype that `global` names: `None` if it names none, `Some(None)` if there is no such [`DType`].
pub(crate) fn element_dtype(global: &str) -> Option<Option<DType>> {
    look_up(ELEMENTS, global)
}

fn look_up(table: &[(&str, Option<DType>)], global: &str) -> Option<Option<DType>> {
    let name = global.strip_prefix("torch.")?;
    table.iter().find(|(entry, _)| *entry == name).map(|&(_, dtype)| dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_exact_names_only() {
        assert!(is_permitted("torch", "HalfStorage"));
        assert!(is_permitted("collections", "OrderedDict"));
        for (module, name) in [
            ("posix", "system"),
            ("torch", "load"),
            ("torch", "EvilStorage"),
            ("torch.storage", "_load_from_bytes"),
            ("torch._utils", "_rebuild_tensor_v2.__globals__"),
            ("builtins", "eval"),
            ("collections", "orderedDict"),
            ("", ""),
        ] {
            assert!(!is_permitted(module, name), "{module}.{name}");
        }
    }

    #[test]
    fn tells_unknown_from_unsupported_elements() {
        assert_eq!(storage_dtype("torch.HalfStorage"), Some(Some(DType::F16)));
        assert_eq!(storage_dtype("torch.QInt8Storage"), Some(None));
        assert_eq!(storage_dtype("torch.storage.UntypedStorage"), None);
        assert_eq!(element_dtype("torch.float8_e5m2"), Some(Some(DType::F8_E5M2)));
        assert_eq!(element_dtype("torch.complex64"), Some(None));
    }
}
