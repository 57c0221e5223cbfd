//! A model in the words of another dialect: the reverse of [`Canonical`](crate::Canonical).
//!
//! Names are those that the dialect's tools expect, and rows are put where they expect them while they are read, so
//! that the pipeline writes a checkpoint for Transformers or a legacy ggml file as it writes anything else.

use std::ops::Range;
use std::sync::Arc;

use gristmill_arch::{Dialect, Direction, Heads, Role, Transform};
use gristmill_tensor::{Bytes, Checkpoint, Metadata, TensorIndex, TensorInfo, keys};

use crate::translate::{EMBEDDING, OUTPUT};
use crate::{Error, Result, gather, vocabulary};

/// A model under the names and in the order of rows of a dialect.
pub struct Respelled {
    house: Arc<dyn Checkpoint>,
    metadata: Metadata,
    index: TensorIndex,
    /// Parallel to the index: the house's tensor and how the dialect's is turned into it.
    origins: Vec<(TensorInfo, Transform)>,
    heads: Heads,
}

impl Respelled {
    /// Presents `house`, which answers in the house's names, in `dialect`. `target` names what is to be written, for
    /// messages.
    ///
    /// # Errors
    /// When the architecture is unknown, and [`Error::NoPlace`] for a weight that the dialect has no name for.
    pub fn new(
        house: Arc<dyn Checkpoint>,
        dialect: Dialect,
        target: &'static str,
    ) -> Result<Respelled> {
        let arch = gristmill_arch::architecture_of(house.metadata())?;
        let heads = Heads::from_metadata(arch, house.metadata())?;
        let mut tensors = Vec::new();
        let mut add = |info: &TensorInfo, name: &str| -> Result<()> {
            // Transformers computes these divisors from the configuration.
            let computed = gristmill_arch::role_of(arch, name) == Some(Role::RopeFreqs);
            match gristmill_arch::spell(arch, dialect, name, house.index()) {
                Some((name, transform)) => {
                    let shape = transform.shape(&info.shape);
                    let dtype = gather::given(info, transform);
                    let spelled = TensorInfo { name, dtype, shape };
                    tensors.push((spelled, (info.clone(), transform)));
                    Ok(())
                }
                None if computed && dialect == Dialect::HuggingFace => Ok(()),
                None => {
                    let (file, tensor) = (house.name(), name.to_owned());
                    Err(Error::NoPlace { file, tensor, target })
                }
            }
        };
        for info in house.tensors() {
            add(info, &info.name)?;
        }
        // Loaders of legacy files know no tied output: where they have a name for it, they want the matrix.
        let wants_output =
            dialect == Dialect::Ggml && gristmill_arch::has_own_name(arch, dialect, OUTPUT);
        if wants_output && house.find(OUTPUT).is_none() {
            add(house.expect(EMBEDDING)?, OUTPUT)?;
        }
        // Headers of legacy files say it, and GGUF need not.
        let n_vocab = house.expect(EMBEDDING)?.shape.rows();
        let mut metadata = house.metadata().clone();
        metadata.set(keys::arch(arch.name(), keys::VOCAB_SIZE), n_vocab as u32);
        if dialect == Dialect::Ggml {
            vocabulary::make_legacy(n_vocab, &mut metadata)?;
        }
        let (infos, origins) = tensors.into_iter().unzip();
        let index = TensorIndex::new(infos).expect("no two weights are spelled alike");
        Ok(Respelled { house, metadata, index, origins, heads })
    }
}

impl Checkpoint for Respelled {
    fn format(&self) -> String {
        self.house.format()
    }

    fn name(&self) -> String {
        self.house.name()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn index(&self) -> &TensorIndex {
        &self.index
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> gristmill_tensor::Result<Bytes> {
        let (info, transform) = &self.origins[position];
        gather::read(&*self.house, info, *transform, Direction::FromHouse, self.heads, rows)
    }
}
