//! The finished forward pass: a list of nodes in an order in which they can be computed.

use std::fmt;

use crate::Op;

/// The place of a node in [`Program::nodes`].
pub type NodeId = usize;

/// The place of a weight in [`Program::weights`].
pub type WeightId = usize;

/// An operation applied to earlier values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From which earlier nodes.
    pub inputs: Vec<NodeId>,
    /// Columns of the result; 0 for the ids of [`Op::Tokens`] and [`Op::Positions`].
    pub width: usize,
}

/// A weight that the program uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightDecl {
    /// The full name, `blk.0.attn_q.weight`.
    pub name: String,
    /// The extents, outermost first.
    pub shape: Vec<usize>,
}

/// A checked forward pass, from token ids to logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Every node; inputs stand before their users.
    pub nodes: Vec<Node>,
    /// Every weight used.
    pub weights: Vec<WeightDecl>,
    /// The node whose rows are the logits, `[n, n_vocab]`.
    pub logits: NodeId,
    /// Number of attentions, which is the number of places in the cache.
    pub n_layer: usize,
}

impl Program {
    /// Columns of a node's value.
    pub fn width(&self, node: NodeId) -> usize {
        self.nodes[node].width
    }

    /// Attributes of an operation as text: weights by name, numbers by value.
    fn attributes(&self, op: &Op) -> String {
        let name = |id: WeightId| self.weights[id].name.as_str();
        match op {
            Op::Embed { weight } => name(*weight).to_string(),
            Op::Linear { weight, bias: None } => name(*weight).to_string(),
            Op::Linear { weight, bias: Some(bias) } => format!("{} {}", name(*weight), name(*bias)),
            Op::LayerNorm { weight, bias: None, eps } => format!("{} eps={eps:e}", name(*weight)),
            Op::LayerNorm { weight, bias: Some(bias), eps } => {
                format!("{} {} eps={eps:e}", name(*weight), name(*bias))
            }
            Op::RmsNorm { weight, eps } => format!("{} eps={eps:e}", name(*weight)),
            Op::Rope(rope) => {
                format!("{:?} n_rot={} head_dim={}", rope.style, rope.n_rot(), rope.head_dim)
            }
            Op::Attend { attention, layer } => format!("layer={layer} {attention:?}"),
            Op::Slice { start } => format!("start={start}"),
            Op::Clamp { limit } => format!("{limit}"),
            Op::Scale { factor } => format!("{factor}"),
            Op::Tokens | Op::Positions | Op::Gelu(_) | Op::Silu | Op::Add | Op::Mul => {
                String::new()
            }
        }
    }
}

impl fmt::Display for Program {
    /// One line per node: `%7 [32] = linear %6 blk.0.ffn_up.weight`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes.iter().enumerate() {
            write!(f, "%{id} [{}] = {}", node.width, node.op.name())?;
            for input in &node.inputs {
                write!(f, " %{input}")?;
            }
            let attributes = self.attributes(&node.op);
            writeln!(f, "{}{attributes}", if attributes.is_empty() { "" } else { " " })?;
        }
        writeln!(f, "logits %{}", self.logits)
    }
}
