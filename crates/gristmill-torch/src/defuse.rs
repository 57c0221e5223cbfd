//! The defuse pass: a pickle in, the same data as a pickle that cannot do anything out.
//!
//! A pickle is a program for a small stack machine. Most of its opcodes push data; a few name Python objects
//! (`GLOBAL`), call them (`REDUCE`, `NEWOBJ`), or hand data to the loader (`BINPERSID`, `BUILD`). PyTorch's
//! checkpoints need those few, so a parser of plain pickles refuses them all. Here each becomes data about itself:
//!
//! ```text
//! GLOBAL m n        the text "\0global:m.n", if the name is permitted; else an error that says who is asked for
//! REDUCE            the tuple ("\0call", callable, arguments); OrderedDict() becomes a dictionary
//! NEWOBJ            the tuple ("\0object", class, arguments)
//! BINPERSID         the tuple ("\0storage", id)
//! BUILD             nothing: the state is dropped, the object stays
//! memo opcodes      the value itself, written again where it is referred to
//! ```
//!
//! The safety argument: the values are first collected as [`Node`]s, which can express nothing but scalars,
//! sequences, dictionaries and the tuples above, and then written by [`emit`](crate::emit), which knows eighteen
//! opcodes, none of which can name, call, or refer back. Nothing that a file says can change that.
//!
//! The opcodes handled are those that occur in PyTorch's files of any pickle protocol; all others are refused,
//! among them `DUP` (doubling bombs), `INST`, `OBJ`, `EXT` and all of protocol 0.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::HashMap;

use gristmill_tensor::{Cursor, Error, Limits, Result};

use crate::emit::{self, Node, NodeId, Nodes};
use crate::opcode::{Op, Ops};
use crate::{FORMAT, names, plain};

/// The newest pickle protocol.
const MAX_PROTOCOL: u8 = 5;

/// The most values a pickle may hold. A checkpoint has about 25 for each tensor.
pub(crate) const MAX_VALUES: u64 = 4 << 20;

/// The most marks that may be open at once: no deeper nesting could be written out again.
const MAX_MARKS: u64 = 256;

/// Rewrites the pickle at `cursor` and leaves the cursor behind it.
pub(crate) fn defuse(cursor: &mut Cursor<'_>, file: &str, limits: &Limits) -> Result<Vec<u8>> {
    let mut machine = Machine {
        ops: Ops::new(cursor, file, limits),
        nodes: Nodes::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    emit::emit(&machine.nodes, root, machine.ops.consumed(), file)
}

/// The pickle machine, with values replaced by nodes.
struct Machine<'c, 's> {
    ops: Ops<'c, 's>,
    nodes: Nodes,
    stack: Vec<NodeId>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, NodeId>,
}

impl Machine<'_, '_> {
    /// Runs to the end and gives the value left on the stack.
    fn run(&mut self) -> Result<NodeId> {
        loop {
            match self.ops.next()? {
                Op::Proto(version) if version > MAX_PROTOCOL => {
                    return Err(self.refuse(format!("pickle protocol {version}")));
                }
                Op::Proto(_) | Op::Frame => {}
                Op::Stop => {
                    let root = self.pop()?;
                    if !self.stack.is_empty() || !self.marks.is_empty() {
                        return Err(self
                            .ops
                            .malformed("the pickle stops in the middle of a value"));
                    }
                    return Ok(root);
                }
                Op::Mark => self.mark()?,

                Op::Put(index) => self.put(index)?,
                Op::Memoize => match u32::try_from(self.memo.len()) {
                    Ok(index) => self.put(index)?,
                    Err(_) => return Err(self.ops.malformed("the pickle's memo overflows")),
                },
                Op::Get(index) => match self.memo.get(&index) {
                    Some(&node) => self.stack.push(node),
                    None => {
                        let what = format!("the pickle refers to memo {index}, which is not set");
                        return Err(self.ops.malformed(what));
                    }
                },

                Op::None => self.scalar(b"N", &[])?,
                Op::Bool(true) => self.scalar(&[0x88], &[])?,
                Op::Bool(false) => self.scalar(&[0x89], &[])?,
                Op::Int(value) => self.int(value)?,
                Op::Long(bytes) => match sign_extended(&bytes) {
                    Some(value) => self.int(value)?,
                    None => self.blob(&bytes)?,
                },
                Op::Float(value) => self.scalar(b"G", &value.to_be_bytes())?,
                Op::Text(bytes) => match std::str::from_utf8(&bytes) {
                    Ok(text) => self.text(text)?,
                    Err(_) => self.blob(&bytes)?,
                },
                Op::Blob(bytes) => self.blob(&bytes)?,

                Op::EmptyTuple => self.push(Node::Tuple(Vec::new()))?,
                Op::Tuple => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Tuple(items))?;
                }
                Op::TupleOf(len) => {
                    let mut items = (0..len).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                    items.reverse();
                    self.push(Node::Tuple(items))?;
                }
                Op::EmptyList | Op::EmptySet => self.push(Node::List(Vec::new()))?,
                Op::Append => {
                    let item = self.pop()?;
                    self.extend_list(vec![item])?;
                }
                Op::Appends | Op::AddItems => {
                    let items = self.pop_to_mark()?;
                    self.extend_list(items)?;
                }
                Op::EmptyDict => self.push(Node::Dict(Vec::new()))?,
                Op::SetItem => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.extend_dict(vec![key, value])?;
                }
                Op::SetItems => {
                    let items = self.pop_to_mark()?;
                    self.extend_dict(items)?;
                }

                Op::Global(module, name) => self.global(&module, &name)?,
                Op::StackGlobal => {
                    let name = self.pop_text()?;
                    let module = self.pop_text()?;
                    self.global(&module, &name)?;
                }
                Op::Reduce => self.reduce()?,
                Op::NewObj => {
                    let args = self.pop()?;
                    let class = self.pop_global()?;
                    self.push(Node::Tagged(plain::OBJECT, vec![class, args]))?;
                }
                Op::Build => {
                    self.pop()?;
                    let object = self.top()?;
                    if matches!(self.nodes.get(object), Node::Scalar(_)) {
                        return Err(self
                            .ops
                            .malformed("the pickle gives a state to a plain value"));
                    }
                }
                Op::BinPersId => {
                    let id = self.pop()?;
                    if !matches!(self.nodes.get(id), Node::Tuple(_)) {
                        let what = "a persistent id that is not a tuple refers to no storage";
                        return Err(self.ops.malformed(what));
                    }
                    self.push(Node::Tagged(plain::STORAGE, vec![id]))?;
                }

                Op::Line => return Err(self.refuse("pickle protocol 0".into())),
                Op::Inst(module, name) => return Err(asks_to_run(&self.ops, &module, &name)),
                op @ (Op::Pop
                | Op::PopMark
                | Op::Dup
                | Op::List
                | Op::Dict
                | Op::FrozenSet
                | Op::NewObjEx
                | Op::Obj
                | Op::PersId
                | Op::Ext
                | Op::Buffer) => return Err(self.refuse(format!("the pickle opcode {op:?}"))),
            }
        }
    }

    /// The error for what no checkpoint of PyTorch's holds.
    fn refuse(&self, what: String) -> Error {
        self.ops.malformed(format!(
            "{what} does not occur in PyTorch's checkpoints and is refused; save the tensors again with torch.save \
             as it comes"
        ))
    }

    fn mark(&mut self) -> Result<()> {
        self.marks.push(self.stack.len());
        self.count("the number of open marks of the pickle", MAX_MARKS, self.marks.len())
    }

    fn put(&mut self, index: u32) -> Result<()> {
        let node = self.top()?;
        self.memo.insert(index, node);
        self.count("the number of memo entries of the pickle", MAX_VALUES, self.memo.len())
    }

    fn push(&mut self, node: Node) -> Result<()> {
        let id = self.nodes.add(node);
        self.stack.push(id);
        self.count("the number of values in the pickle", MAX_VALUES, self.nodes.len())
    }

    fn count(&self, what: &str, limit: u64, found: usize) -> Result<()> {
        self.ops.check(what, limit, u64::try_from(found).unwrap_or(u64::MAX))
    }

    fn scalar(&mut self, opcode: &[u8], operand: &[u8]) -> Result<()> {
        let node = self.nodes.scalar(&[opcode, operand]);
        self.push(node)
    }

    fn int(&mut self, value: i64) -> Result<()> {
        match i32::try_from(value) {
            Ok(value) => self.scalar(b"J", &value.to_le_bytes()),
            Err(_) => self.scalar(&[0x8a, 8], &value.to_le_bytes()),
        }
    }

    fn text(&mut self, text: &str) -> Result<()> {
        let escape = if text.starts_with(plain::ESCAPE) { "\0" } else { "" };
        let node = self.nodes.text(&[escape, text]);
        self.push(node)
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<()> {
        let node = self.nodes.blob(bytes);
        self.push(node)
    }

    /// Values above the innermost mark are out of reach of everything but the opcode that closes it.
    fn reachable(&self) -> usize {
        self.stack.len().saturating_sub(self.marks.last().copied().unwrap_or(0))
    }

    fn top(&self) -> Result<NodeId> {
        match self.stack.last() {
            Some(&node) if self.reachable() > 0 => Ok(node),
            _ => Err(self.ops.malformed("the pickle takes a value from an empty stack")),
        }
    }

    fn pop(&mut self) -> Result<NodeId> {
        let node = self.top()?;
        self.stack.pop();
        Ok(node)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<NodeId>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.ops.malformed("the pickle closes a mark that was never set")),
        }
    }

    /// The text on top; for the module and the name of a global.
    fn pop_text(&mut self) -> Result<String> {
        let node = self.pop()?;
        match self.nodes.text_of(node) {
            Some(text) => Ok(text.into()),
            None => {
                Err(self.ops.malformed("the pickle names a global by something else than text"))
            }
        }
    }

    /// The global on top; for what is called or constructed.
    fn pop_global(&mut self) -> Result<NodeId> {
        let node = self.pop()?;
        match self.global_name(node) {
            Some(_) => Ok(node),
            None => Err(self.ops.malformed("the pickle calls something that has no name")),
        }
    }

    fn global_name(&self, node: NodeId) -> Option<&str> {
        self.nodes.text_of(node)?.strip_prefix(plain::GLOBAL)
    }

    fn extend_list(&mut self, new: Vec<NodeId>) -> Result<()> {
        let list = self.top()?;
        match self.nodes.get_mut(list) {
            Node::List(items) => items.extend(new),
            _ => return Err(self.ops.malformed("the pickle appends to something that is no list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, new: Vec<NodeId>) -> Result<()> {
        let dict = self.top()?;
        match self.nodes.get_mut(dict) {
            Node::Dict(items) if new.len().is_multiple_of(2) => items.extend(new),
            _ => return Err(self.ops.malformed("the pickle sets items that no dictionary takes")),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        if !names::is_permitted(module, name) {
            return Err(self.refuse_global(module, name));
        }
        let node = self.nodes.text(&[plain::GLOBAL, module, ".", name]);
        self.push(node)
    }

    /// Tells a whole pickled model, which is merely useless here, from everything worse. The first comes as a
    /// class that is instantiated without arguments or, in the older stream, as a class after the text "module".
    fn refuse_global(&mut self, module: &str, name: &str) -> Error {
        let after_module =
            self.stack.last().is_some_and(|&node| self.nodes.text_of(node) == Some("module"));
        let mut next = || self.ops.next().ok();
        let after_put = match next() {
            Some(Op::Put(_) | Op::Memoize) => next(),
            other => other,
        };
        let instantiated = matches!((after_put, next()), (Some(Op::EmptyTuple), Some(Op::NewObj)));
        if !after_module && !instantiated {
            return asks_to_run(&self.ops, module, name);
        }
        Error::unsupported(
            self.ops.file(),
            FORMAT,
            format!(
                "the file holds a whole object of class {module}.{name}, not only tensors; building it would mean to \
                 run its code, and nothing was run. Save model.state_dict() instead of the model"
            ),
        )
    }

    fn reduce(&mut self) -> Result<()> {
        let args = self.pop()?;
        let callable = self.pop_global()?;
        if !matches!(self.nodes.get(args), Node::Tuple(_)) {
            return Err(self.ops.malformed("the pickle calls with something else than arguments"));
        }
        let dict = match self.global_name(callable) {
            Some("collections.OrderedDict" | "builtins.dict" | "__builtin__.dict") => {
                self.dict_of(args)
            }
            _ => None,
        };
        match dict {
            Some(items) => self.push(Node::Dict(items)),
            None => self.push(Node::Tagged(plain::CALL, vec![callable, args])),
        }
    }

    /// The keys and values of `dict()` and of `dict([(key, value), ...])`, which is how Python 2 wrote it.
    fn dict_of(&self, args: NodeId) -> Option<Vec<NodeId>> {
        let Node::Tuple(args) = self.nodes.get(args) else { return None };
        let pairs = match args.as_slice() {
            [] => return Some(Vec::new()),
            [pairs] => *pairs,
            _ => return None,
        };
        let Node::List(pairs) = self.nodes.get(pairs) else { return None };
        let mut items = Vec::new();
        for &pair in pairs {
            match self.nodes.get(pair) {
                Node::Tuple(pair) | Node::List(pair) if pair.len() == 2 => items.extend(pair),
                _ => return None,
            }
        }
        Some(items)
    }
}

/// The error for a name that is not on the lists.
fn asks_to_run(ops: &Ops<'_, '_>, module: &str, name: &str) -> Error {
    ops.malformed(format!(
        "this file asks to run {module}.{name}, and no checkpoint needs that; nothing was run. Do not load the file \
         with anything else before you know who wrote it"
    ))
}

/// The value of a little-endian two's complement number of at most 64 bits.
fn sign_extended(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests;
