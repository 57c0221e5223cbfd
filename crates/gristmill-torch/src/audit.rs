//! Which names of Python a file mentions, read without trusting anything in it.
//!
//! This walks the opcodes of every pickle in a file and lists the globals, permitted or not, so that a report can say
//! what a file would have made Python load. It does not build values, so it also gets through pickles that
//! [`defuse`](crate::defuse) refuses; where it cannot go on, it keeps what it has found.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gristmill_tensor::{ByteSource, Cursor, Limits, Result};

use crate::archive::{self, Archive};
use crate::defuse::MAX_VALUES;
use crate::opcode::{Op, Ops};
use crate::{FORMAT, legacy, names};

/// Lists the globals, as `module.name`, that the pickles of a checkpoint (of either container) or a bare pickle name,
/// each once, in the order of the file. See [`is_permitted`] for telling which of them are harmless.
///
/// # Errors
/// When the file is no pickle and no sound zip archive of pickles, or damaged before anything was found.
pub fn audit(source: Arc<dyn ByteSource>) -> Result<Vec<String>> {
    let limits = Limits::default();
    let mut found = Found::default();
    let head = source.read(0..source.len().min(4))?;
    let outcome = if *head == *archive::MAGIC {
        Archive::open(source, &limits).and_then(|archive| {
            archive.names().iter().filter(|name| name.ends_with(".pkl")).try_for_each(|name| {
                let pickle = archive.pickle_source(name, &limits)?;
                scan(&mut Cursor::new(&pickle, FORMAT), &pickle.name(), &limits, &mut found)
            })
        })
    } else {
        let mut cursor = Cursor::new(&*source, FORMAT);
        let file = source.name();
        let n = if legacy::detect(&source.read(0..source.len().min(64))?) {
            legacy::N_PICKLES
        } else {
            1
        };
        (0..n).try_for_each(|_| scan(&mut cursor, &file, &limits, &mut found))
    };
    match outcome {
        Err(error) if found.names.is_empty() => Err(error),
        _ => Ok(found.names),
    }
}

/// Whether a global that [`audit`] lists may stand in a checkpoint; [`Torch`](crate::Torch) refuses all others.
pub fn is_permitted(global: &str) -> bool {
    global.rsplit_once('.').is_some_and(|(module, name)| names::is_permitted(module, name))
}

/// Names in order, each once.
#[derive(Default)]
struct Found {
    names: Vec<String>,
    seen: HashSet<String>,
}

impl Found {
    fn add(&mut self, module: &str, name: &str) {
        let global = format!("{module}.{name}");
        if self.seen.insert(global.clone()) {
            self.names.push(global);
        }
    }
}

/// Texts longer than this name nothing.
const MAX_NAME: usize = 1024;

/// Walks one pickle. Newer protocols put the names of a global on the stack as texts; to know them without building
/// values, the last two texts are remembered, and those in the memo.
fn scan(cursor: &mut Cursor<'_>, file: &str, limits: &Limits, found: &mut Found) -> Result<()> {
    let mut ops = Ops::new(cursor, file, limits);
    let mut memo: HashMap<u32, Option<Arc<str>>> = HashMap::new();
    let (mut before, mut last): (Option<Arc<str>>, Option<Arc<str>>) = (None, None);
    // What a memo opcode would store: the text just pushed, or nothing that is a text.
    let mut top = None;
    loop {
        ops.check("the number of memo entries of the pickle", MAX_VALUES, memo.len() as u64)?;
        top = match ops.next()? {
            Op::Stop => return Ok(()),
            Op::Proto(_) | Op::Frame => continue,
            Op::Put(index) => {
                memo.insert(index, top.clone());
                continue;
            }
            Op::Memoize => {
                memo.insert(memo.len() as u32, top.clone());
                continue;
            }
            Op::Get(index) => memo.get(&index).cloned().flatten(),
            Op::Text(bytes) if bytes.len() <= MAX_NAME => {
                Some(String::from_utf8_lossy(&bytes).into())
            }
            Op::Global(module, name) | Op::Inst(module, name) => {
                found.add(&module, &name);
                None
            }
            Op::StackGlobal => {
                let name =
                    |text: &Option<Arc<str>>| text.as_deref().unwrap_or("(unknown)").to_owned();
                found.add(&name(&before), &name(&last));
                None
            }
            Op::Ext => {
                found.add("copyreg", "(extension registry)");
                None
            }
            _ => None,
        };
        if top.is_some() {
            before = std::mem::replace(&mut last, top.clone());
        }
    }
}
