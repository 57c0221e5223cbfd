//! A program with its weights: all that sessions share.

use std::fmt;

use gristmill_graph::{Op, Program, WeightId};
use gristmill_kernels::Matrix;
use gristmill_tensor::{Bytes, Checkpoint, Tensor, in_large_pages};

use crate::plan::Plan;
use crate::{Error, Result};

/// A program bound to its weights. It never changes and is shared by any number of sessions.
pub struct Model {
    program: Program,
    plan: Plan,
    weights: Vec<Weight>,
    weight_bytes: u64,
    max_n_ctx: Option<usize>,
    n_token_ids: usize,
}

/// Where weights are read from while a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residence {
    /// Copies of small models, which take no time to make; large ones in place.
    #[default]
    Auto,
    /// Where the checkpoint has them: in a mapped file nothing is copied, and the system may take the memory back.
    InPlace,
    /// Copies in memory of large pages, which is read a little faster.
    Copied,
}

/// The most bytes that [`Residence::Auto`] copies: a few hundredths of a second's work.
const SMALL: usize = 256 << 20;

/// A weight in the form in which it is used.
enum Weight {
    /// The matrix of a product or the rows of a table, as stored.
    Matrix(Matrix),
    /// A gain or a bias, widened.
    Vector(Vec<f32>),
}

impl Model {
    /// Binds every weight that `program` names. Matrices stay where the checkpoint has them (in a mapped file nothing is
    /// copied) unless the model is small; vectors are widened to f32.
    ///
    /// # Errors
    /// [`Error::Tensor`] when a weight is missing, cannot be read, or is of a type that cannot be computed with;
    /// [`Error::Shape`] when it has not the program's shape; [`Error::Program`].
    pub fn bind(program: Program, weights: &dyn Checkpoint) -> Result<Model> {
        Model::bind_with(program, weights, Residence::Auto)
    }

    /// [`bind`](Self::bind) with a say in where matrices are.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); [`Error::NoMemory`] when they cannot be copied.
    pub fn bind_with(
        program: Program,
        weights: &dyn Checkpoint,
        residence: Residence,
    ) -> Result<Model> {
        let plan = Plan::new(&program)?;
        let tensors = program.weights.iter().map(|decl| weights.tensor(&decl.name));
        let tensors = settle(tensors.collect::<gristmill_tensor::Result<_>>()?, residence)?;
        let mut bound = Vec::with_capacity(program.weights.len());
        let mut weight_bytes = 0;
        for (decl, tensor) in program.weights.iter().zip(tensors) {
            if tensor.info.shape.dims() != decl.shape {
                return Err(Error::Shape {
                    file: weights.name(),
                    tensor: decl.name.clone(),
                    expected: decl.shape.clone(),
                    found: tensor.info.shape.dims().to_vec(),
                });
            }
            weight_bytes += tensor.bytes.len() as u64;
            let matrix = Matrix::new(tensor)?;
            bound.push(match decl.shape[..] {
                [width] => {
                    let mut vector = vec![0.0; width];
                    matrix.row_f32(0, &mut vector);
                    Weight::Vector(vector)
                }
                _ => Weight::Matrix(matrix),
            });
        }
        let max_n_ctx = table_rows(&program, &Op::Positions);
        let n_vocab = program.width(program.logits);
        let n_token_ids = table_rows(&program, &Op::Tokens).unwrap_or(n_vocab);
        Ok(Model { program, plan, weights: bound, weight_bytes, max_n_ctx, n_token_ids })
    }

    /// How many tokens there are: the width of the logits.
    pub fn n_vocab(&self) -> usize {
        self.program.width(self.program.logits)
    }

    /// How many attention layers there are.
    pub fn n_layer(&self) -> usize {
        self.program.n_layer
    }

    /// The longest context there can be, if positions are looked up in a table (GPT-2); otherwise what the model was
    /// trained for is the caller's to know.
    pub fn max_n_ctx(&self) -> Option<usize> {
        self.max_n_ctx
    }

    /// Bytes of all weights as stored.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The forward pass.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// How many token ids can be fed: the rows of the embedding.
    pub(crate) fn n_token_ids(&self) -> usize {
        self.n_token_ids
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The weight of a product or a lookup.
    pub(crate) fn matrix(&self, id: WeightId) -> &Matrix {
        match &self.weights[id] {
            Weight::Matrix(matrix) => matrix,
            Weight::Vector(_) => {
                unreachable!("the graph takes only weights of two dimensions as matrices")
            }
        }
    }

    /// A gain or a bias.
    pub(crate) fn vector(&self, id: WeightId) -> &[f32] {
        match &self.weights[id] {
            Weight::Vector(vector) => vector,
            Weight::Matrix(_) => {
                unreachable!("the graph takes only weights of one dimension as vectors")
            }
        }
    }
}

/// Brings tensors to where they are to be read from.
fn settle(tensors: Vec<Tensor>, residence: Residence) -> Result<Vec<Tensor>> {
    let n_bytes = tensors.iter().fold(0usize, |sum, tensor| sum.saturating_add(tensor.bytes.len()));
    let is_copied = match residence {
        Residence::Auto => n_bytes <= SMALL,
        Residence::InPlace => false,
        Residence::Copied => true,
    };
    if !is_copied {
        return Ok(tensors);
    }
    let parts: Vec<Bytes> = tensors.iter().map(|tensor| tensor.bytes.clone()).collect();
    match in_large_pages(&parts) {
        Ok(copies) => {
            let moved = tensors.into_iter().zip(copies);
            Ok(moved.map(|(tensor, bytes)| Tensor { bytes, ..tensor }).collect())
        }
        Err(_) if residence == Residence::Auto => Ok(tensors),
        Err(_) => Err(Error::NoMemory { n_bytes }),
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Model({} layers, {} tokens, {} bytes)",
            self.n_layer(),
            self.n_vocab(),
            self.weight_bytes
        )
    }
}

/// The rows of the smallest table in which values of the operation `ids` are looked up.
fn table_rows(program: &Program, ids: &Op) -> Option<usize> {
    let lookups = program.nodes.iter().filter_map(|node| match &node.op {
        Op::Embed { weight } if program.nodes[node.inputs[0]].op == *ids => {
            Some(program.weights[*weight].shape[0])
        }
        _ => None,
    });
    lookups.min()
}
