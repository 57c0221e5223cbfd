//! The alphabet of pickles: bytes in, one [`Op`] at a time out.
//!
//! Every opcode of protocols 0 to 5 is recognized, also those that [`defuse`](crate::defuse) refuses, because
//! [`audit`](crate::audit) must be able to walk through a hostile pickle and name what it finds. Nothing is
//! interpreted here. Source: CPython's `Lib/pickletools.py`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use gristmill_tensor::{Bytes, Cursor, Error, Limits, Result};

/// The most opcodes one pickle may hold.
const MAX_OPS: u64 = 50_000_000;

/// The longest line, in bytes: module names, class names and the numbers of protocol 0.
const MAX_LINE: u64 = 1024;

/// One opcode with its operand.
#[derive(Debug)]
pub(crate) enum Op {
    Proto(u8),
    Frame,
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    Put(u32),
    Memoize,
    Get(u32),
    None,
    Bool(bool),
    Int(i64),
    /// A number of any width: two's complement, least significant byte first.
    Long(Bytes),
    Float(f64),
    Text(Bytes),
    Blob(Bytes),
    EmptyTuple,
    Tuple,
    /// A tuple of the topmost one, two or three values.
    TupleOf(usize),
    EmptyList,
    List,
    Append,
    Appends,
    EmptyDict,
    Dict,
    SetItem,
    SetItems,
    EmptySet,
    FrozenSet,
    AddItems,
    /// A module and a name in it.
    Global(String, String),
    StackGlobal,
    Reduce,
    Build,
    Inst(String, String),
    Obj,
    NewObj,
    NewObjEx,
    BinPersId,
    PersId,
    Ext,
    /// A number, text or memo index of protocol 0, written out as a line.
    Line,
    /// The out-of-band buffers of protocol 5.
    Buffer,
}

/// Reads the opcodes of one pickle and counts them.
pub(crate) struct Ops<'c, 's> {
    cursor: &'c mut Cursor<'s>,
    file: &'c str,
    limits: &'c Limits,
    start: u64,
    count: u64,
}

impl<'c, 's> Ops<'c, 's> {
    /// The pickle that begins where `cursor` stands in `file`.
    pub(crate) fn new(
        cursor: &'c mut Cursor<'s>,
        file: &'c str,
        limits: &'c Limits,
    ) -> Ops<'c, 's> {
        let start = cursor.position();
        Ops { cursor, file, limits, start, count: 0 }
    }

    /// An error where the cursor stands.
    pub(crate) fn malformed(&self, what: impl Into<String>) -> Error {
        self.cursor.malformed(what)
    }

    /// The file, for messages.
    pub(crate) fn file(&self) -> &'c str {
        self.file
    }

    /// Bytes read so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.cursor.position().saturating_sub(self.start)
    }

    /// Refuses `found` above `limit`.
    pub(crate) fn check(&self, what: &str, limit: u64, found: u64) -> Result<()> {
        Limits::check(self.file, what, limit, found)
    }

    /// The next opcode.
    pub(crate) fn next(&mut self) -> Result<Op> {
        self.count = self.count.saturating_add(1);
        self.check("the number of opcodes of the pickle", MAX_OPS, self.count)?;
        self.check("the length of the pickle", self.limits.header_bytes, self.consumed())?;
        let at = self.cursor.position();
        let code = self.cursor.u8()?;
        Ok(match code {
            0x80 => Op::Proto(self.cursor.u8()?),
            0x95 => self.frame()?,
            b'.' => Op::Stop,
            b'(' => Op::Mark,
            b'0' => Op::Pop,
            b'1' => Op::PopMark,
            b'2' => Op::Dup,

            b'q' => Op::Put(self.cursor.u8()?.into()),
            b'r' => Op::Put(self.cursor.u32()?),
            0x94 => Op::Memoize,
            b'h' => Op::Get(self.cursor.u8()?.into()),
            b'j' => Op::Get(self.cursor.u32()?),

            b'N' => Op::None,
            0x88 => Op::Bool(true),
            0x89 => Op::Bool(false),
            b'J' => Op::Int(self.cursor.i32()?.into()),
            b'K' => Op::Int(self.cursor.u8()?.into()),
            b'M' => Op::Int(self.cursor.u16()?.into()),
            0x8a => Op::Long(self.short()?),
            0x8b => Op::Long(self.medium()?),
            b'G' => Op::Float(f64::from_bits(self.cursor.u64()?.swap_bytes())),

            b'X' | b'T' => Op::Text(self.medium()?),
            b'U' | 0x8c => Op::Text(self.short()?),
            0x8d => Op::Text(self.long()?),
            b'B' => Op::Blob(self.medium()?),
            b'C' => Op::Blob(self.short()?),
            0x8e => Op::Blob(self.long()?),

            b')' => Op::EmptyTuple,
            b't' => Op::Tuple,
            0x85 => Op::TupleOf(1),
            0x86 => Op::TupleOf(2),
            0x87 => Op::TupleOf(3),
            b']' => Op::EmptyList,
            b'l' => Op::List,
            b'a' => Op::Append,
            b'e' => Op::Appends,
            b'}' => Op::EmptyDict,
            b'd' => Op::Dict,
            b's' => Op::SetItem,
            b'u' => Op::SetItems,
            0x8f => Op::EmptySet,
            0x90 => Op::AddItems,
            0x91 => Op::FrozenSet,

            b'c' => Op::Global(self.line()?, self.line()?),
            0x93 => Op::StackGlobal,
            b'R' => Op::Reduce,
            b'b' => Op::Build,
            b'i' => Op::Inst(self.line()?, self.line()?),
            b'o' => Op::Obj,
            0x81 => Op::NewObj,
            0x92 => Op::NewObjEx,
            b'Q' => Op::BinPersId,
            b'P' => {
                self.line()?;
                Op::PersId
            }
            0x82 => self.ext(1)?,
            0x83 => self.ext(2)?,
            0x84 => self.ext(4)?,

            b'I' | b'L' | b'F' | b'S' | b'V' | b'p' | b'g' => {
                self.line()?;
                Op::Line
            }
            0x96 => {
                self.long()?;
                Op::Buffer
            }
            0x97 | 0x98 => Op::Buffer,
            other => {
                let what = format!("{other:#04x} is no pickle opcode; the file is damaged");
                return Err(self.cursor.malformed_at(at, what));
            }
        })
    }

    /// The length of a frame promises that so many bytes follow; beyond that promise it means nothing.
    fn frame(&mut self) -> Result<Op> {
        let len = self.cursor.u64()?;
        if len > self.cursor.remaining() {
            return Err(self.cursor.malformed(format!("a frame of {len} bytes passes the end")));
        }
        Ok(Op::Frame)
    }

    fn ext(&mut self, width: u64) -> Result<Op> {
        self.cursor.bytes(width)?;
        Ok(Op::Ext)
    }

    fn short(&mut self) -> Result<Bytes> {
        let len = self.cursor.u8()?.into();
        self.operand(len)
    }

    fn medium(&mut self) -> Result<Bytes> {
        let len = self.cursor.u32()?.into();
        self.operand(len)
    }

    fn long(&mut self) -> Result<Bytes> {
        let len = self.cursor.u64()?;
        self.operand(len)
    }

    fn operand(&mut self, len: u64) -> Result<Bytes> {
        self.check("the length of a pickled string", self.limits.string_bytes, len)?;
        self.cursor.bytes(len)
    }

    /// The text up to the next line feed.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut len = 0u64;
        loop {
            match self.cursor.u8()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
            len = len.saturating_add(1);
            self.check("the length of a line in a pickle", MAX_LINE, len)?;
        }
    }
}
