//! The far side of the defuse pass: values as nodes, and the plain pickle written from them.
//!
//! The opcodes written are `PROTO STOP`, the scalars `NONE NEWTRUE NEWFALSE BININT LONG1 BINFLOAT BINUNICODE
//! BINBYTES`, and for containers `EMPTY_TUPLE TUPLE1-3`, `EMPTY_LIST APPEND` and `EMPTY_DICT SETITEM`. Longer tuples
//! are written as lists, which are the same to the reader. There are no marks (serde-pickle reserves four kilobytes
//! for each) and no memo (it refuses values that are referred to twice): a node is written wherever it is referred
//! to, which is why depth, size and number of values are limited here. The limit on the depth also ends values that
//! contain themselves.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::ops::Range;

use gristmill_tensor::{Limits, Result};

use crate::defuse::MAX_VALUES;

/// The deepest nesting; serde-pickle and its visitors recurse.
const MAX_DEPTH: u64 = 128;

/// How much longer than its source a plain pickle may be: times this, plus [`SLACK`].
const MAX_GROWTH: u64 = 8;
const SLACK: u64 = 1 << 20;

/// A value, in the order of its making.
#[derive(Clone, Copy)]
pub(crate) struct NodeId(usize);

/// What a value is.
pub(crate) enum Node {
    /// An opcode with its operand, ready to be copied out.
    Scalar(Range<usize>),
    Tuple(Vec<NodeId>),
    List(Vec<NodeId>),
    /// Keys and values in turn.
    Dict(Vec<NodeId>),
    /// A tuple that begins with one of the tags of [`plain`](crate::plain); one or two values follow it.
    Tagged(&'static str, Vec<NodeId>),
}

/// All values of one pickle.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    scalars: Vec<u8>,
}

impl Nodes {
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn get(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0).expect("ids are made by add and nodes are never removed")
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id.0).expect("ids are made by add and nodes are never removed")
    }

    /// A scalar of these bytes, which must be one whole opcode.
    pub(crate) fn scalar(&mut self, parts: &[&[u8]]) -> Node {
        let start = self.scalars.len();
        for part in parts {
            self.scalars.extend_from_slice(part);
        }
        Node::Scalar(start..self.scalars.len())
    }

    /// A text made of `parts`.
    pub(crate) fn text(&mut self, parts: &[&str]) -> Node {
        let bytes = parts.concat();
        self.scalar(&[b"X", &length(bytes.len()), bytes.as_bytes()])
    }

    /// Raw bytes.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Node {
        self.scalar(&[b"B", &length(bytes.len()), bytes])
    }

    /// The text that a node is, if it is one.
    pub(crate) fn text_of(&self, id: NodeId) -> Option<&str> {
        let Node::Scalar(range) = self.get(id) else { return None };
        let (head, text) = self.scalars.get(range.clone())?.split_at_checked(5)?;
        if !head.starts_with(b"X") {
            return None;
        }
        std::str::from_utf8(text).ok()
    }
}

/// The length field of a text or blob.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("strings of a pickle are limited far below 4 GiB").to_le_bytes()
}

/// Writes `root` and all it contains as a plain pickle. `consumed` is the length of the pickle it came from.
pub(crate) fn emit(nodes: &Nodes, root: NodeId, consumed: u64, file: &str) -> Result<Vec<u8>> {
    let max_bytes = consumed.saturating_mul(MAX_GROWTH).saturating_add(SLACK);
    // A small file cannot ask for millions of values either.
    let max_values = consumed.saturating_mul(MAX_GROWTH).saturating_add(1 << 16).min(MAX_VALUES);
    let mut emitter = Emitter { nodes, file, out: vec![0x80, 2], values: 0, max_values, max_bytes };
    emitter.write(root, 0)?;
    emitter.out.push(b'.');
    Ok(emitter.out)
}

struct Emitter<'a> {
    nodes: &'a Nodes,
    file: &'a str,
    out: Vec<u8>,
    values: u64,
    max_values: u64,
    max_bytes: u64,
}

impl Emitter<'_> {
    fn write(&mut self, id: NodeId, depth: u64) -> Result<()> {
        self.check(depth)?;
        let below = depth.saturating_add(1);
        match self.nodes.get(id) {
            Node::Scalar(range) => {
                let bytes = self.nodes.scalars.get(range.clone());
                self.out.extend_from_slice(bytes.expect("ranges of scalars are made by scalar"));
            }
            Node::Tuple(items) if items.len() <= 3 => {
                self.write_all(items, below)?;
                self.end_tuple(items.len());
            }
            Node::Tuple(items) | Node::List(items) => {
                self.out.push(b']');
                for &item in items {
                    self.write(item, below)?;
                    self.out.push(b'a');
                }
            }
            Node::Dict(items) => {
                self.out.push(b'}');
                for entry in items.chunks(2) {
                    self.write_all(entry, below)?;
                    self.out.push(b's');
                }
            }
            Node::Tagged(tag, items) => {
                self.out.push(b'X');
                self.out.extend_from_slice(&length(tag.len()));
                self.out.extend_from_slice(tag.as_bytes());
                self.write_all(items, below)?;
                self.end_tuple(items.len().saturating_add(1));
            }
        }
        Ok(())
    }

    fn write_all(&mut self, items: &[NodeId], depth: u64) -> Result<()> {
        items.iter().try_for_each(|&item| self.write(item, depth))
    }

    /// Makes a tuple of the last `len` values.
    fn end_tuple(&mut self, len: usize) {
        self.out.push(match len {
            0 => b')',
            1 => 0x85,
            2 => 0x86,
            _ => 0x87,
        });
    }

    fn check(&mut self, depth: u64) -> Result<()> {
        self.values = self.values.saturating_add(1);
        let check = |what, limit, found| Limits::check(self.file, what, limit, found);
        check("the depth of a value (without end if it contains itself)", MAX_DEPTH, depth)?;
        check(
            "the number of values of the pickle, repeats counted,",
            self.max_values,
            self.values,
        )?;
        let written = u64::try_from(self.out.len()).unwrap_or(u64::MAX);
        check("the size of the pickle, repeats written out,", self.max_bytes, written)
    }
}
