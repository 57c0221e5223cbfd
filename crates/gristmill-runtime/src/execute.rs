//! Running a plan: one `match` over the operations.

use std::mem;

use gristmill_graph::{Attention, Gelu, NodeId, Op, Program, RopeStyle};
use gristmill_kernels::{
    self as kernels, Activations, JOINED, KvCache, Norm, Product, RopePairs, RopeTable, Team,
};
use smallvec::SmallVec;

use crate::TokenId;
use crate::model::Model;
use crate::plan::{Plan, Rows, Step};

/// The memory that a run works in: values in slots. It grows to what the largest batch needs and is used again.
pub(crate) struct Memory {
    slots: Vec<Activations>,
    /// Some rows of a value, for products that need only those.
    gathered: Activations,
    /// By token of the batch.
    positions: Vec<usize>,
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
            positions: Vec::new(),
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

/// Runs the batch.
pub(crate) fn run(model: &Model, team: &Team, memory: &mut Memory, batch: Batch<'_, '_>) {
    let (program, plan) = (model.program(), model.plan());
    let Memory { positions, rope_tables, .. } = memory;
    positions.clear();
    positions.extend(batch.texts.iter().flat_map(|text| text.first..text.first + text.n_tokens));
    for (table, rope) in rope_tables.iter_mut().zip(&plan.ropes) {
        table.fill(&rope.inv_freq, rope.scale, positions);
    }
    let mut run = Run { model, program, plan, team, memory, batch };
    for (step, &next) in plan.steps.iter().zip(&plan.next_linears) {
        if let (Step::Linears { .. }, Some(next)) = (step, next) {
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

impl<'a> Run<'a, '_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Node(node) => self.node(*node),
            Step::Linears { norm, ids } => self.linears(*norm, ids),
            Step::SiluMul { gate, up, product } => {
                self.combine(*gate, *up, *product, kernels::silu_mul)
            }
        }
    }

    /// Lets the weights of the products of a step be fetched while others wait.
    fn look_ahead(&self, step: &Step) {
        if let (1, Step::Linears { ids, .. }) = (self.batch.tokens.len(), step) {
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
            Op::Linear { .. } => self.linears(None, &[id]),
            Op::Embed { weight } => {
                let table = model.matrix(*weight);
                let first = self.batch.tokens.len() - self.n_rows(id);
                let of_tokens = self.program.nodes[node.inputs[0]].op == Op::Tokens;
                let (tokens, positions) =
                    (self.batch.tokens, mem::take(&mut self.memory.positions));
                let place = |token: usize| {
                    if of_tokens { tokens[token] as usize } else { positions[token] }
                };
                self.make(id, |_, out| {
                    kernels::for_rows(team, out, table.n_in(), &|row, out| {
                        let rows = out.chunks_exact_mut(table.n_in()).zip(first + row..);
                        rows.for_each(|(out, token)| table.row_f32(place(token), out));
                    });
                });
                self.memory.positions = positions;
            }
            Op::LayerNorm { .. } | Op::RmsNorm { .. } => {
                let norm = self.norm(id);
                self.make(id, |x, out| norm.rows(team, x, out));
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

    /// The norm that a node is, with its weights.
    fn norm(&self, id: NodeId) -> Norm<'a> {
        let model = self.model;
        match self.program.nodes[id].op {
            Op::LayerNorm { weight, bias, eps } => {
                Norm::layer(model.vector(weight), bias.map(|bias| model.vector(bias)), eps)
            }
            Op::RmsNorm { weight, eps } => Norm::rms(model.vector(weight), eps),
            _ => unreachable!("only norms are asked for theirs"),
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

    /// Products of one value, or of what a norm makes of it, with several matrices.
    fn linears(&mut self, norm: Option<NodeId>, ids: &[NodeId]) {
        let n_rows = self.n_rows(ids[0]);
        if n_rows == 0 {
            return;
        }
        let input = self.program.nodes[norm.unwrap_or(ids[0])].inputs[0];
        let slot = self.plan.place(input).slot;
        let whole = self.memory.slots[slot].n_tokens() == n_rows;
        let mut x = if whole {
            mem::take(&mut self.memory.slots[slot])
        } else {
            let mut gathered = mem::take(&mut self.memory.gathered);
            gathered.load(self.team, self.rows(input, n_rows), self.program.width(input));
            gathered
        };
        let plan = self.plan;
        let slots = ids.iter().map(|&id| plan.place(id).slot);
        let mut values: SmallVec<[Activations; JOINED]> =
            slots.clone().map(|slot| mem::take(&mut self.memory.slots[slot])).collect();
        let products = ids.iter().zip(&mut values).map(|(&id, value)| {
            let Op::Linear { weight, bias } = self.program.nodes[id].op else {
                unreachable!("only products are drawn together")
            };
            let bias = bias.map(|bias| self.model.vector(bias));
            let y = value.rows_mut(n_rows, self.program.width(id));
            Product { weight: self.model.matrix(weight), bias, y }
        });
        let mut products: SmallVec<[Product<'_>; JOINED]> = products.collect();
        let norm = norm.map(|norm| self.norm(norm));
        kernels::matmul_joined(self.team, &mut x, norm, &mut products);
        drop(products);
        for (slot, value) in slots.zip(values) {
            self.memory.slots[slot] = value;
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
