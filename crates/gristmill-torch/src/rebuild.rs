//! From plain data to a list of tensors: what `torch._utils._rebuild_tensor_v2` and its relatives would have done.
//!
//! A pickled tensor is a call with a storage, an offset, a size and strides, all counted in elements; a parameter is
//! a call around that. A checkpoint is a dictionary of tensors, possibly of dictionaries of them, possibly inside a
//! wrapper that also carries an optimizer and the like. Everything that is not a tensor is passed over in silence;
//! a tensor that cannot be represented is refused by name, because leaving it out would be worse.
//!
//! Nothing is known here about where the storages are; see [`archive`](crate::archive) and
//! [`legacy`](crate::legacy).
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::HashMap;

use gristmill_tensor::{DType, Error, Limits, Result};

use crate::names::width;
use crate::plain::Plain;
use crate::storage::{Storage, unsigned};
use crate::strided::Layout;
use crate::{FORMAT, names, storage};

/// Keys of a root dictionary under which training programs keep the weights, the likeliest first.
const WRAPPERS: &[&str] = &["state_dict", "model_state_dict", "model", "module"];

/// The longest chain of calls: a type around a parameter around a tensor, and one to spare.
const MAX_CALLS: usize = 4;

/// A tensor: a view of a storage.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    /// Position in [`StateDict::storages`].
    pub(crate) storage: usize,
    pub(crate) layout: Layout,
}

/// The tensors of a checkpoint in the order of the file, every one inside its storage.
#[derive(Debug)]
pub(crate) struct StateDict {
    pub(crate) storages: Vec<Storage>,
    pub(crate) tensors: Vec<View>,
}

/// Finds the tensors below `root`. `file` is named in errors.
pub(crate) fn rebuild(root: &Plain, file: &str, limits: &Limits) -> Result<StateDict> {
    let mut rebuilder = Rebuilder {
        file,
        limits,
        storages: Vec::new(),
        positions: HashMap::new(),
        tensors: Vec::new(),
    };
    let Plain::Dict(entries) = root else {
        return Err(rebuilder.malformed(format!(
            "the file holds {} where a dictionary of tensors is expected; save model.state_dict()",
            describe(root)
        )));
    };
    rebuilder.dict(unwrapped(entries), "")?;
    if rebuilder.tensors.is_empty() {
        let hint = "; the file holds settings but no weights".into();
        return Err(Error::Missing { file: file.into(), what: "every tensor".into(), hint });
    }
    Ok(StateDict { storages: rebuilder.storages, tensors: rebuilder.tensors })
}

/// The entries of the dictionary that a training program wrapped, or the root's own. A root that holds tensors itself
/// is no wrapper.
fn unwrapped(entries: &[(Plain, Plain)]) -> &[(Plain, Plain)] {
    if entries.iter().any(|(_, value)| is_tensor(value)) {
        return entries;
    }
    let under = |wrapper: &&str| {
        entries.iter().find_map(|(key, value)| match (key, value) {
            (Plain::Text(key), Plain::Dict(inner)) if key == wrapper && holds_tensors(value) => {
                Some(inner.as_slice())
            }
            _ => None,
        })
    };
    WRAPPERS.iter().find_map(under).unwrap_or(entries)
}

/// Whether there is a tensor anywhere in `value`.
fn holds_tensors(value: &Plain) -> bool {
    match value {
        Plain::Dict(entries) => entries.iter().any(|(_, value)| holds_tensors(value)),
        Plain::Seq(items) => items.iter().any(holds_tensors),
        value => is_tensor(value),
    }
}

/// Whether a call makes a tensor of some sort.
fn is_tensor(value: &Plain) -> bool {
    match value {
        Plain::Call(callable, _) => matches!(&**callable, Plain::Global(name)
            if name.starts_with("torch._utils._rebuild")
                || name == "torch._tensor._rebuild_from_type_v2"
                || name == "torch.nn.parameter.Parameter"),
        _ => false,
    }
}

fn describe(value: &Plain) -> String {
    match value {
        Plain::Int(_) => "a number".into(),
        Plain::Text(_) => "a text".into(),
        Plain::Seq(_) => "a list".into(),
        Plain::Storage(_) => "a bare storage".into(),
        Plain::Global(name) => format!("the name {name}"),
        call @ Plain::Call(..) if is_tensor(call) => "a single tensor".into(),
        _ => "an object".into(),
    }
}

struct Rebuilder<'a> {
    file: &'a str,
    limits: &'a Limits,
    storages: Vec<Storage>,
    positions: HashMap<String, usize>,
    tensors: Vec<View>,
}

impl Rebuilder<'_> {
    fn malformed(&self, what: String) -> Error {
        Error::malformed(self.file, FORMAT, 0, what)
    }

    fn unsupported(&self, what: String) -> Error {
        Error::unsupported(self.file, FORMAT, what)
    }

    fn dict(&mut self, entries: &[(Plain, Plain)], prefix: &str) -> Result<()> {
        for (key, value) in entries {
            let key = match key {
                Plain::Text(key) => key.clone(),
                Plain::Int(key) => key.to_string(),
                _ if is_tensor(value) => {
                    let what = format!("a tensor of {prefix:?} has a name that is no text");
                    return Err(self.malformed(what));
                }
                _ => continue,
            };
            self.value(value, format!("{prefix}{key}"))?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Plain, name: String) -> Result<()> {
        match value {
            Plain::Dict(entries) => self.dict(entries, &format!("{name}.")),
            Plain::Seq(items) => items
                .iter()
                .enumerate()
                .filter(|(_, item)| {
                    matches!(item, Plain::Dict(_) | Plain::Seq(_) | Plain::Call(..))
                })
                .try_for_each(|(position, item)| self.value(item, format!("{name}.{position}"))),
            call if is_tensor(call) => self.tensor(call, name),
            _ => Ok(()),
        }
    }

    fn tensor(&mut self, call: &Plain, name: String) -> Result<()> {
        let limits = self.limits;
        let check = |what, limit, found: usize| {
            Limits::check(self.file, what, limit, u64::try_from(found).unwrap_or(u64::MAX))
        };
        check("the number of tensors", limits.tensors, self.tensors.len().saturating_add(1))?;
        check("the length of a tensor's name", limits.name_bytes, name.len())?;
        if name.is_empty() {
            return Err(self.malformed("a tensor has no name".into()));
        }
        let view = self.view(call, name, MAX_CALLS)?;
        self.tensors.push(view);
        Ok(())
    }

    /// Undoes calls until one makes a view.
    fn view(&mut self, value: &Plain, name: String, calls_left: usize) -> Result<View> {
        match value {
            Plain::Call(callable, args) => match &**callable {
                Plain::Global(callable) => self.call(callable, args, name, calls_left),
                _ => Err(self.malformed(format!("tensor {name} is made by something unnamed"))),
            },
            _ => Err(self.malformed(format!("tensor {name} is {}", describe(value)))),
        }
    }

    fn call(
        &mut self,
        callable: &str,
        args: &[Plain],
        name: String,
        calls_left: usize,
    ) -> Result<View> {
        let Some(below) = calls_left.checked_sub(1) else {
            return Err(self.malformed(format!("tensor {name} is wrapped too often")));
        };
        match (callable, args) {
            (
                "torch._utils._rebuild_parameter"
                | "torch._utils._rebuild_parameter_with_state"
                | "torch.nn.parameter.Parameter",
                [inner, ..],
            ) => self.view(inner, name, below),
            (
                "torch._tensor._rebuild_from_type_v2",
                [Plain::Global(function), _, Plain::Seq(args), ..],
            ) => self.call(function, args, name, below),
            (
                "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
                [Plain::Storage(id), offset, size, stride, ..],
            ) => self.strided(id, offset, size, stride, None, name),
            (
                "torch._utils._rebuild_tensor_v3",
                [Plain::Storage(id), offset, size, stride, _, _, Plain::Global(element), ..],
            ) => self.strided(id, offset, size, stride, Some(element), name),
            (
                "torch._utils._rebuild_tensor"
                | "torch._utils._rebuild_tensor_v2"
                | "torch._utils._rebuild_tensor_v3",
                _,
            ) => Err(self.malformed(format!("tensor {name}: {callable} has unexpected arguments"))),
            _ => Err(self.unsupported(format!(
                "tensor {name} is made by {callable}; only ordinary dense tensors are read. Quantized, sparse and \
                 other special tensors must be converted with PyTorch before they are saved"
            ))),
        }
    }

    fn strided(
        &mut self,
        id: &[Plain],
        offset: &Plain,
        size: &Plain,
        stride: &Plain,
        element: Option<&str>,
        name: String,
    ) -> Result<View> {
        let (storage, window) = storage::parse(id)
            .map_err(|error| self.malformed(format!("tensor {name}: its storage {error}")))?;
        let dtype = self.dtype(element, &storage, &name)?;
        let Some(layout) = layout(offset, size, stride) else {
            let what = format!(
                "tensor {name}: offset, size and stride are not lists of as many numbers from 0 up"
            );
            return Err(self.malformed(what));
        };
        let rank = u64::try_from(layout.dims.len()).unwrap_or(u64::MAX);
        let what = format!("the number of dimensions of tensor {name}");
        Limits::check(self.file, &what, self.limits.rank, rank)?;

        // The window is counted in the storage's elements, the layout in the tensor's; they differ if the storage is
        // untyped.
        let elements = |units: u64| units.checked_mul(storage.width())?.checked_div(width(dtype));
        let fits = match (layout.end(), elements(window.len)) {
            (Some(end), Some(capacity)) => end <= capacity,
            _ => false,
        };
        let offset = elements(window.start).and_then(|start| layout.offset.checked_add(start));
        let (true, Some(offset)) = (fits, offset) else {
            return Err(self.malformed(format!(
                "tensor {name} reaches past the end of its storage {:?}; the file is damaged",
                storage.key
            )));
        };
        let offset = if layout.is_empty() { 0 } else { offset };
        let position = self.position(storage, &name)?;
        Ok(View { name, dtype, storage: position, layout: Layout { offset, ..layout } })
    }

    /// The type of a tensor's elements, which its storage tells or else the call.
    fn dtype(&self, element: Option<&str>, storage: &Storage, name: &str) -> Result<DType> {
        let (global, dtype) = match element {
            Some(element) => (element, names::element_dtype(element)),
            None => (storage.class.as_str(), names::storage_dtype(&storage.class)),
        };
        match dtype {
            Some(Some(dtype)) => Ok(dtype),
            Some(None) => Err(self.unsupported(format!(
                "tensor {name} has elements of {global}, which are not supported; convert it to floats with PyTorch \
                 before it is saved"
            ))),
            None => Err(self.malformed(format!("tensor {name}: {global} tells no type of elements"))),
        }
    }

    /// Where `storage` is among those known so far; it is added if it is new.
    fn position(&mut self, storage: Storage, name: &str) -> Result<usize> {
        if let Some(&position) = self.positions.get(&storage.key) {
            if self.storages.get(position) == Some(&storage) {
                return Ok(position);
            }
            let what =
                format!("tensor {name}: storage {:?} is described differently before", storage.key);
            return Err(self.malformed(what));
        }
        let position = self.storages.len();
        self.positions.insert(storage.key.clone(), position);
        self.storages.push(storage);
        Ok(position)
    }
}

fn layout(offset: &Plain, size: &Plain, stride: &Plain) -> Option<Layout> {
    // `torch.Size` is a tuple with a name.
    let size = match size {
        Plain::Call(callable, args) if **callable == Plain::Global("torch.Size".into()) => {
            args.first()?
        }
        other => other,
    };
    let (Plain::Seq(size), Plain::Seq(stride)) = (size, stride) else { return None };
    if size.len() != stride.len() {
        return None;
    }
    let dims = size.iter().map(|dim| usize::try_from(unsigned(dim)?).ok());
    Some(Layout {
        dims: dims.collect::<Option<_>>()?,
        strides: stride.iter().map(unsigned).collect::<Option<_>>()?,
        offset: unsigned(offset)?,
    })
}

#[cfg(test)]
mod tests;
