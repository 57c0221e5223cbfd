//! The builder in which architectures are written.
//!
//! Methods of [`Var`] never fail at the place where they stand, so that a forward pass reads like its paper: the
//! first disagreement is kept and [`Graph::finish`] reports it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Mul};

use crate::op::{Attention, Gelu, Op, Rope};
use crate::program::{Node, NodeId, Program, WeightDecl, WeightId};
use crate::{Error, Result};

/// A forward pass under construction, over a model's weights.
pub struct Graph {
    state: RefCell<State>,
}

struct State {
    /// The declared weights by full name, with the place they got when first used.
    declared: HashMap<String, (Vec<usize>, Option<WeightId>)>,
    weights: Vec<WeightDecl>,
    nodes: Vec<Node>,
    n_layer: usize,
    error: Option<Error>,
}

/// A value: a matrix of one row per token. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Var<'g> {
    graph: &'g Graph,
    id: NodeId,
}

impl Graph {
    /// A graph over weights of these full names (`blk.0.attn_q.weight`) and shapes, outermost first.
    pub fn new(weights: impl IntoIterator<Item = (String, Vec<usize>)>) -> Graph {
        let declared = weights.into_iter().map(|(name, shape)| (name, (shape, None))).collect();
        let (weights, nodes) = (Vec::new(), Vec::new());
        Graph { state: RefCell::new(State { declared, weights, nodes, n_layer: 0, error: None }) }
    }

    /// The token ids.
    pub fn tokens(&self) -> Var<'_> {
        self.push(Op::Tokens, &[], 0)
    }

    /// The positions of the tokens.
    pub fn positions(&self) -> Var<'_> {
        self.push(Op::Positions, &[], 0)
    }

    /// Whether the model has `{name}.weight`.
    pub fn has(&self, name: &str) -> bool {
        self.state.borrow().declared.contains_key(&format!("{name}.weight"))
    }

    /// Ends the forward pass at `logits`.
    ///
    /// # Errors
    /// The first disagreement met, or [`Error::Unused`] when the model has weights that no operation names.
    pub fn finish(self, logits: NodeId) -> Result<Program> {
        let state = self.state.into_inner();
        if let Some(error) = state.error {
            return Err(error);
        }
        let mut names: Vec<String> = state
            .declared
            .into_iter()
            .filter(|(_, (_, used))| used.is_none())
            .map(|(name, _)| name)
            .collect();
        if !names.is_empty() {
            names.sort();
            names.truncate(5);
            return Err(Error::Unused { names });
        }
        Ok(Program { nodes: state.nodes, weights: state.weights, logits, n_layer: state.n_layer })
    }

    fn push(&self, op: Op, inputs: &[Var<'_>], width: usize) -> Var<'_> {
        let mut state = self.state.borrow_mut();
        let inputs = inputs.iter().map(|var| var.id).collect();
        state.nodes.push(Node { op, inputs, width });
        Var { graph: self, id: state.nodes.len() - 1 }
    }

    fn fail(&self, error: Error) {
        self.state.borrow_mut().error.get_or_insert(error);
    }

    fn check_width(&self, op: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(Error::WrongWidth { op, what: what() });
        }
    }

    /// The place and shape of a weight that must be there; of an empty one, after noting the error, if it is not.
    fn weight(&self, name: String) -> (WeightId, Vec<usize>) {
        self.optional_weight(&name).unwrap_or_else(|| {
            self.fail(Error::MissingWeight { name });
            (0, Vec::new())
        })
    }

    fn optional_weight(&self, name: &str) -> Option<(WeightId, Vec<usize>)> {
        let state = &mut *self.state.borrow_mut();
        let (shape, place) = state.declared.get_mut(name)?;
        let place = *place.get_or_insert_with(|| {
            state.weights.push(WeightDecl { name: name.into(), shape: shape.clone() });
            state.weights.len() - 1
        });
        Some((place, shape.clone()))
    }

    /// A matrix `[n_out, n_in]`; gives its place and `n_out`. `n_in` of `None` accepts any.
    fn matrix(&self, name: &str, n_in: Option<usize>) -> (WeightId, usize, usize) {
        let name = format!("{name}.weight");
        let (id, shape) = self.weight(name.clone());
        match shape[..] {
            [n_out, found] if n_in.is_none_or(|n_in| n_in == found) => (id, n_out, found),
            _ => {
                let expected = n_in.map_or("[rows, columns]".into(), |n| format!("[any, {n}]"));
                self.fail(Error::WrongShape { name, expected, found: shape });
                (id, 0, 0)
            }
        }
    }

    /// A vector of `width` elements called `{name}.{part}`.
    fn vector(&self, name: &str, part: &str, width: usize) -> Option<WeightId> {
        let name = format!("{name}.{part}");
        let (id, shape) = self.optional_weight(&name)?;
        if shape != [width] {
            self.fail(Error::WrongShape { name, expected: format!("[{width}]"), found: shape });
        }
        Some(id)
    }

    /// The gain of a norm, which must be there.
    fn gain(&self, name: &str, width: usize) -> WeightId {
        self.vector(name, "weight", width).unwrap_or_else(|| {
            self.fail(Error::MissingWeight { name: format!("{name}.weight") });
            0
        })
    }
}

impl<'g> Var<'g> {
    /// The place of the value in its graph, for [`Graph::finish`].
    pub fn id(self) -> NodeId {
        self.id
    }

    /// Columns.
    pub fn width(self) -> usize {
        self.graph.state.borrow().nodes[self.id].width
    }

    fn map(self, op: Op) -> Var<'g> {
        self.graph.push(op, &[self], self.width())
    }

    /// For each id, its row of `{name}.weight`.
    pub fn embed(self, name: &str) -> Var<'g> {
        let (weight, _, n_embd) = self.graph.matrix(name, None);
        self.graph.push(Op::Embed { weight }, &[self], n_embd)
    }

    /// `x Wᵀ`, plus `{name}.bias` if the model has it.
    pub fn linear(self, name: &str) -> Var<'g> {
        let (weight, n_out, _) = self.graph.matrix(name, Some(self.width()));
        let bias = self.graph.vector(name, "bias", n_out);
        self.graph.push(Op::Linear { weight, bias }, &[self], n_out)
    }

    /// Layer normalization with `{name}.weight`, and `{name}.bias` if the model has it.
    pub fn layer_norm(self, name: &str, eps: f32) -> Var<'g> {
        let weight = self.graph.gain(name, self.width());
        let bias = self.graph.vector(name, "bias", self.width());
        self.map(Op::LayerNorm { weight, bias, eps })
    }

    /// Root mean square normalization with `{name}.weight`.
    pub fn rms_norm(self, name: &str, eps: f32) -> Var<'g> {
        let weight = self.graph.gain(name, self.width());
        self.map(Op::RmsNorm { weight, eps })
    }

    /// Rotary position embedding of each head.
    pub fn rope(self, rope: &Rope) -> Var<'g> {
        let width = self.width();
        let whole = rope.head_dim > 0 && width.is_multiple_of(rope.head_dim);
        self.graph.check_width("rope", whole && rope.n_rot() <= rope.head_dim, || {
            format!("{} of {} dimensions in rows of {width}", rope.n_rot(), rope.head_dim)
        });
        self.map(Op::Rope(rope.clone()))
    }

    /// Causal self-attention with `self` as queries.
    pub fn attend(self, k: Var<'g>, v: Var<'g>, attention: Attention) -> Var<'g> {
        let Attention { n_head, n_head_kv, head_dim, .. } = attention;
        let widths = [self.width(), k.width(), v.width()];
        let heads = n_head_kv > 0 && n_head > 0 && n_head.is_multiple_of(n_head_kv);
        let expected = [n_head, n_head_kv, n_head_kv].map(|n| n.checked_mul(head_dim));
        self.graph.check_width("attend", heads && widths.map(Some) == expected, || {
            format!("q, k, v are {widths:?} wide for {n_head} and {n_head_kv} heads of {head_dim}")
        });
        let layer = {
            let mut state = self.graph.state.borrow_mut();
            state.n_layer += 1;
            state.n_layer - 1
        };
        self.graph.push(Op::Attend { attention, layer }, &[self, k, v], self.width())
    }

    /// The row cut into consecutive parts of these widths.
    pub fn split<const N: usize>(self, widths: [usize; N]) -> [Var<'g>; N] {
        let total = widths.iter().try_fold(0usize, |sum, &width| sum.checked_add(width));
        self.graph.check_width("split", total == Some(self.width()), || {
            format!("{} columns into {widths:?}", self.width())
        });
        let mut start = 0usize;
        widths.map(|width| {
            let part = self.graph.push(Op::Slice { start }, &[self], width);
            start = start.saturating_add(width);
            part
        })
    }

    /// Each element clamped to `-limit ..= limit`.
    pub fn clamp(self, limit: f32) -> Var<'g> {
        self.map(Op::Clamp { limit })
    }

    /// The Gaussian error linear unit.
    pub fn gelu(self, form: Gelu) -> Var<'g> {
        self.map(Op::Gelu(form))
    }

    /// `x * sigmoid(x)`.
    pub fn silu(self) -> Var<'g> {
        self.map(Op::Silu)
    }

    /// Each element times `factor`.
    pub fn scale(self, factor: f32) -> Var<'g> {
        self.map(Op::Scale { factor })
    }

    fn combine(self, op: Op, other: Var<'g>) -> Var<'g> {
        let (a, b) = (self.width(), other.width());
        self.graph.check_width(op.name(), a == b, || format!("widths {a} and {b} differ"));
        self.graph.push(op, &[self, other], a)
    }
}

impl<'g> Add for Var<'g> {
    type Output = Var<'g>;

    fn add(self, other: Var<'g>) -> Var<'g> {
        self.combine(Op::Add, other)
    }
}

impl<'g> Mul for Var<'g> {
    type Output = Var<'g>;

    fn mul(self, other: Var<'g>) -> Var<'g> {
        self.combine(Op::Mul, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(list: &[(&str, &[usize])]) -> Graph {
        Graph::new(list.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())))
    }

    #[test]
    fn a_missing_weight_is_named() {
        let graph = weights(&[("token_embd.weight", &[10, 4])]);
        let logits = graph.tokens().embed("token_embd").linear("output").id();
        assert_eq!(
            graph.finish(logits),
            Err(Error::MissingWeight { name: "output.weight".into() })
        );
    }

    #[test]
    fn a_weight_that_does_not_fit_is_named() {
        let graph = weights(&[("token_embd.weight", &[10, 4]), ("output.weight", &[10, 5])]);
        let logits = graph.tokens().embed("token_embd").linear("output").id();
        assert!(
            matches!(graph.finish(logits), Err(Error::WrongShape { name, .. }) if name == "output.weight")
        );
    }

    #[test]
    fn an_unused_weight_is_refused() {
        let graph = weights(&[("token_embd.weight", &[10, 4]), ("output.bias", &[10])]);
        let logits = graph.tokens().embed("token_embd").linear("token_embd").id();
        assert_eq!(graph.finish(logits), Err(Error::Unused { names: vec!["output.bias".into()] }));
    }

    #[test]
    fn a_bias_is_used_when_the_model_has_one() {
        let graph = weights(&[
            ("token_embd.weight", &[10, 4]),
            ("output.weight", &[10, 4]),
            ("output.bias", &[10]),
        ]);
        let logits = graph.tokens().embed("token_embd").linear("output").id();
        let program = graph.finish(logits).unwrap();
        assert!(program.to_string().contains("%2 [10] = linear %1 output.weight output.bias"));
    }

    #[test]
    fn heads_that_do_not_fill_the_row_are_refused() {
        let graph = weights(&[("token_embd.weight", &[10, 6])]);
        let x = graph.tokens().embed("token_embd");
        let attention = Attention {
            n_head: 2,
            n_head_kv: 2,
            head_dim: 4,
            scale: 0.5,
            alibi_max: None,
            window: None,
        };
        let logits = x.attend(x, x, attention).linear("token_embd").id();
        assert!(matches!(graph.finish(logits), Err(Error::WrongWidth { op: "attend", .. })));
    }
}
