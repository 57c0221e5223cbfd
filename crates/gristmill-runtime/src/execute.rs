//! Running a plan: one `match` over the operations.

use std::mem;

use gristmill_graph::{Attention, Gelu, NodeId, Op, Program, RopeStyle};
use gristmill_kernels::{
    self as kernels, Activations, KvCache, Product, RopePairs, RopeTable, Team,
};

use crate::TokenId;
use crate::model::Model;
use crate::plan::{Plan, Rows, Step};

/// The memory that a run works in: values in slots. It grows to what the largest batch needs and is used again.
pub(crate) struct Memory {
    slots: Vec<Activations>,
    /// Some rows of a value, for products that need only those.
    gathered: Activations,
    /// By rotary embedding of the plan.
    rope_tables: Vec<RopeTable>,
    attention_scratch: Vec<f32>,
}

impl Memory {
    pub(crate) fn new(plan: &Plan, deterministic: bool) -> Memory {
        let slot = || Activations::new().deterministic(deterministic);
        Memory {
            slots: (0..plan.n_slots).map(|_| slot()).collect(),
            gathered: slot(),
            rope_tables: vec![RopeTable::new(); plan.ropes.len()],
            attention_scratch: Vec::new(),
        }
    }

    /// The logits of the last run, if it was to give any.
    pub(crate) fn logits(&self, model: &Model) -> &[f32] {
        self.slots[model.plan().place(model.program().logits).slot].rows()
    }
}

/// Tokens to be run through the model: those of one text after those of another.
pub(crate) struct Batch<'a, 't> {
    pub(crate) tokens: &'a [TokenId],
    pub(crate) texts: &'a mut [Text<'t>],
    /// Of how many tokens, the last ones, logits are wanted.
    pub(crate) n_wanted: usize,
}

/// A text that tokens are appended to.
pub(crate) struct Text<'a> {
    /// What its earlier tokens left behind, by layer, with room for the new ones.
    pub(crate) caches: &'a mut [KvCache],
    /// The position of the first new token.
    pub(crate) first: usize,
    /// How many there are.
    pub(crate) n_tokens: usize,
}

impl Batch<'_, '_> {
    /// The position of each token in its text.
    fn positions(&self) -> impl Iterator<Item = usize> {
        self.texts.iter().flat_map(|text| text.first..text.first + text.n_tokens)
    }
}

/// Runs the batch.
pub(crate) fn run(model: &Model, team: &Team, memory: &mut Memory, batch: Batch<'_, '_>) {
    let (program, plan) = (model.program(), model.plan());
    for (table, rope) in memory.rope_tables.iter_mut().zip(&plan.ropes) {
        table.fill(&rope.inv_freq, rope.scale, batch.positions());
    }
    let mut run = Run { model, program, plan, team, memory, batch };
    for (step, &next) in plan.steps.iter().zip(&plan.next_linears) {
        if let (Step::Linears(_), Some(next)) = (step, next) {
            run.look_ahead(&plan.steps[next]);
        }
        run.step(step);
    }
}

struct Run<'a, 't> {
    model: &'a Model,
    program: &'a Program,
    plan: &'a Plan,
    team: &'a Team,
    memory: &'a mut Memory,
    batch: Batch<'a, 't>,
}

impl Run<'_, '_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Node(node) => self.node(*node),
            Step::Linears(nodes) => self.linears(nodes),
            Step::SiluMul { gate, up, product } => {
                self.combine(*gate, *up, *product, kernels::silu_mul)
            }
        }
    }

    /// Lets the weights of the products of a step be fetched while others wait.
    fn look_ahead(&self, step: &Step) {
        if let (1, Step::Linears(ids)) = (self.batch.tokens.len(), step) {
            let weights = ids.iter().filter_map(|&id| match self.program.nodes[id].op {
                Op::Linear { weight, .. } => Some(self.model.matrix(weight)),
                _ => None,
            });
            kernels::look_ahead(self.team, weights);
        }
    }

    fn node(&mut self, id: NodeId) {
        let (model, team) = (self.model, self.team);
        let node = &self.program.nodes[id];
        match &node.op {
            // Keys and values are kept also when no row of the result is wanted.
            Op::Attend { attention, layer } => self.attend(id, attention, *layer),
            _ if self.n_rows(id) == 0 => {}
            Op::Tokens | Op::Positions => {}
            Op::Linear { .. } => self.linears(&[id]),
            Op::Embed { weight } => {
                let table = model.matrix(*weight);
                let first = self.batch.tokens.len() - self.n_rows(id);
                let of_tokens = self.program.nodes[node.inputs[0]].op == Op::Tokens;
                let places: Vec<usize> = if of_tokens {
                    self.batch.tokens[first..].iter().map(|&token| token as usize).collect()
                } else {
                    self.batch.positions().skip(first).collect()
                };
                self.make(id, |_, out| {
                    kernels::for_rows(team, out, table.n_in(), &|row, out| {
                        let rows = out.chunks_exact_mut(table.n_in());
                        rows.zip(&places[row..])
                            .for_each(|(out, &place)| table.row_f32(place, out));
                    });
                });
            }
            Op::LayerNorm { weight, bias, eps } => {
                let (weight, bias) = (model.vector(*weight), bias.map(|bias| model.vector(bias)));
                self.make(id, |x, out| kernels::layer_norm(team, x, weight, bias, *eps, out));
            }
            Op::RmsNorm { weight, eps } => {
                let weight = model.vector(*weight);
                self.make(id, |x, out| kernels::rms_norm(team, x, weight, *eps, out));
            }
            Op::Slice { start } => {
                let (from, width) = (self.program.width(node.inputs[0]), node.width);
                self.make(id, |x, out| {
                    kernels::for_rows(team, out, width, &|row, out| {
                        let x = x[row * from..].chunks_exact(from);
                        out.chunks_exact_mut(width)
                            .zip(x)
                            .for_each(|(out, x)| out.copy_from_slice(&x[*start..][..width]));
                    });
                });
            }
            Op::Rope(rope) => {
                let (n_heads, head_dim) = (node.width / rope.head_dim, rope.head_dim);
                let pairs = match rope.style {
                    RopeStyle::Interleaved => RopePairs::Neighbors,
                    RopeStyle::Halves => RopePairs::Halves,
                };
                let first = self.batch.tokens.len() - self.n_rows(id);
                let which = self.plan.rope_of[id].expect("every rotary embedding has a table");
                let table = mem::take(&mut self.memory.rope_tables[which]);
                self.change(id, |x| {
                    kernels::rope(team, x, n_heads, head_dim, pairs, &table, first)
                });
                self.memory.rope_tables[which] = table;
            }
            Op::Clamp { limit } => self.change(id, |x| kernels::clamp(team, x, *limit)),
            Op::Gelu(Gelu::Exact) => self.change(id, |x| kernels::gelu(team, x)),
            Op::Gelu(Gelu::Tanh) => self.change(id, |x| kernels::gelu_tanh(team, x)),
            Op::Silu => self.change(id, |x| kernels::silu(team, x)),
            Op::Scale { factor } => self.change(id, |x| kernels::scale(team, x, *factor)),
            Op::Add => self.combine(node.inputs[0], node.inputs[1], id, kernels::add),
            Op::Mul => self.combine(node.inputs[0], node.inputs[1], id, kernels::mul),
        }
    }

    /// How many rows of a value are computed in this batch.
    fn n_rows(&self, id: NodeId) -> usize {
        match self.plan.place(id).rows {
            Rows::All => self.batch.tokens.len(),
            Rows::Wanted => self.batch.n_wanted,
        }
    }

    /// The last `n_rows` rows of a value.
    fn rows(&self, id: NodeId, n_rows: usize) -> &[f32] {
        let all = self.memory.slots[self.plan.place(id).slot].rows();
        &all[all.len() - n_rows * self.program.width(id)..]
    }

    /// Computes a value from its first operand (nothing for one that looks up ids) with `f(operand, value)`.
    fn make(&mut self, id: NodeId, f: impl FnOnce(&[f32], &mut [f32])) {
        let (n_rows, slot) = (self.n_rows(id), self.plan.place(id).slot);
        let mut value = mem::take(&mut self.memory.slots[slot]);
        let input = self.program.nodes[id].inputs[0];
        let operand =
            if self.plan.places[input].is_some() { self.rows(input, n_rows) } else { &[] };
        f(operand, value.rows_mut(n_rows, self.program.width(id)));
        self.memory.slots[slot] = value;
    }

    /// Computes a value by changing its only operand in place, or a copy of it if it is needed later.
    fn change(&mut self, id: NodeId, f: impl FnOnce(&mut [f32])) {
        let input = self.program.nodes[id].inputs[0];
        let mut value = self.begin_with(input, id);
        f(value.rows_mut(self.n_rows(id), self.program.width(id)));
        self.memory.slots[self.plan.place(id).slot] = value;
    }

    /// Computes a value from two operands with `f`, which changes the first one given to it. An operation that is not
    /// symmetric has the first operand's place or its own.
    fn combine(&mut self, a: NodeId, b: NodeId, id: NodeId, f: fn(&Team, &mut [f32], &[f32])) {
        let n_rows = self.n_rows(id);
        if n_rows == 0 {
            return;
        }
        let slot = self.plan.place(id).slot;
        let in_place_of_b = slot == self.plan.place(b).slot;
        let (first, second) = if in_place_of_b { (b, a) } else { (a, b) };
        let mut value = self.begin_with(first, id);
        f(self.team, value.rows_mut(n_rows, self.program.width(id)), self.rows(second, n_rows));
        self.memory.slots[slot] = value;
    }

    /// Takes the slot of value `id` out of its place, holding the rows of `input`.
    fn begin_with(&mut self, input: NodeId, id: NodeId) -> Activations {
        let (n_rows, slot) = (self.n_rows(id), self.plan.place(id).slot);
        let mut value = mem::take(&mut self.memory.slots[slot]);
        if slot != self.plan.place(input).slot {
            let (from, width) = (self.rows(input, n_rows), self.program.width(id));
            kernels::for_rows(self.team, value.rows_mut(n_rows, width), width, &|row, out| {
                out.copy_from_slice(&from[row * width..][..out.len()]);
            });
        }
        value
    }

    /// Products of one value with several matrices.
    fn linears(&mut self, ids: &[NodeId]) {
        let n_rows = self.n_rows(ids[0]);
        if n_rows == 0 {
            return;
        }
        let input = self.program.nodes[ids[0]].inputs[0];
        let slot = self.plan.place(input).slot;
        let whole = self.memory.slots[slot].n_tokens() == n_rows;
        let mut x = if whole {
            mem::take(&mut self.memory.slots[slot])
        } else {
            let mut gathered = mem::take(&mut self.memory.gathered);
            gathered.load(self.team, self.rows(input, n_rows), self.program.width(input));
            gathered
        };
        let mut values: Vec<Activations> = Vec::with_capacity(ids.len());
        for &id in ids {
            values.push(mem::take(&mut self.memory.slots[self.plan.place(id).slot]));
        }
        let products = ids.iter().zip(&mut values).map(|(&id, value)| {
            let Op::Linear { weight, bias } = self.program.nodes[id].op else {
                unreachable!("only products are drawn together")
            };
            let bias = bias.map(|bias| self.model.vector(bias));
            let y = value.rows_mut(n_rows, self.program.width(id));
            Product { weight: self.model.matrix(weight), bias, y }
        });
        kernels::matmul_joined(self.team, &mut x, &mut products.collect::<Vec<_>>());
        for (&id, value) in ids.iter().zip(values) {
            self.memory.slots[self.plan.place(id).slot] = value;
        }
        if whole {
            self.memory.slots[slot] = x;
        } else {
            self.memory.gathered = x;
        }
    }

    /// Keeps the keys and values of the batch, and attends from the rows that are wanted.
    fn attend(&mut self, id: NodeId, attention: &Attention, layer: usize) {
        let [q, k, v] = [0, 1, 2].map(|i| self.program.nodes[id].inputs[i]);
        let [width, width_kv] = [id, k].map(|id| self.program.width(id));
        let (n_tokens, n_rows) = (self.batch.tokens.len(), self.n_rows(id));
        let attention = kernels::Attention {
            n_head: attention.n_head,
            scale: attention.scale,
            slopes: &self.plan.layers[layer].slopes,
            window: attention.window,
        };
        let texts = mem::take(&mut self.batch.texts);
        let mut scratch = mem::take(&mut self.memory.attention_scratch);
        let slot = self.plan.place(id).slot;
        let mut value = mem::take(&mut self.memory.slots[slot]);
        let mut out = if n_rows > 0 { value.rows_mut(n_rows, width) } else { &mut [] };
        let (k, v) = (self.rows(k, n_tokens), self.rows(v, n_tokens));
        let q = self.rows(q, n_rows);
        let mut start = 0;
        for text in texts.iter_mut() {
            let end = start + text.n_tokens;
            let new = start * width_kv..end * width_kv;
            let cache = &mut text.caches[layer];
            cache.write(self.team, text.first, &k[new.clone()], &v[new]);
            // Rows are those of the last tokens of the batch.
            let [row, row_end] =
                [start, end].map(|token| (token + n_rows).saturating_sub(n_tokens));
            if row < row_end {
                let first = text.first + text.n_tokens - (row_end - row);
                let (now, later) = out.split_at_mut((row_end - row) * width);
                let q = &q[row * width..row_end * width];
                kernels::attend(self.team, &attention, cache, first, q, now, &mut scratch);
                out = later;
            }
            start = end;
        }
        self.memory.slots[slot] = value;
        self.memory.attention_scratch = scratch;
        self.batch.texts = texts;
    }
}
