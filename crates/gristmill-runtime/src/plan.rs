//! How a program is run, decided once: which rows of each value are needed, which products are one job, and where
//! each value lives.
//!
//! *Rows.* Every operation but attention computes each row from the same row of its operands. So after the last
//! attention only those rows are needed whose logits are wanted, which in a prefill is one of many.
//!
//! *Steps.* Products of the same value (q, k and v; gate and up) are computed together, and `silu` followed by a
//! product is one step. A norm that only products read is drawn into them.
//!
//! *Slots.* A value lives in a slot from the step that makes it to the last that reads it; then another value of the
//! same width takes its place. Element-wise operations work in the place of an operand that nobody reads later.

use gristmill_graph::{Attention, NodeId, Op, Program, Rope};
use gristmill_kernels::alibi_slopes;

use crate::{Error, Result};

/// The place of a value among the session's buffers.
pub(crate) type SlotId = usize;

/// Which rows of a value are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rows {
    /// Those whose logits are wanted: the last ones, or none.
    Wanted,
    /// One for each token.
    All,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// The operation of a node.
    Node(NodeId),
    /// Products of one value, or of what a norm makes of it.
    Linears { norm: Option<NodeId>, ids: Vec<NodeId> },
    /// `product = silu(gate) * up`, two operations at once.
    SiluMul { gate: NodeId, up: NodeId, product: NodeId },
}

/// A value's rows and place; nothing for values that are not needed, and ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) rows: Rows,
    pub(crate) slot: SlotId,
}

/// The decisions for one program.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// By step: the next one of products that comes after it, in this token or the next.
    pub(crate) next_linears: Vec<Option<usize>>,
    /// By node.
    pub(crate) places: Vec<Option<Place>>,
    pub(crate) n_slots: usize,
    /// The different rotary embeddings.
    pub(crate) ropes: Vec<Rope>,
    /// For each node that is a rotary embedding, which.
    pub(crate) rope_of: Vec<Option<usize>>,
    /// The attentions by layer.
    pub(crate) layers: Vec<Layer>,
}

/// An attention, with ALiBi's slopes worked out.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    /// One per head, or none.
    pub(crate) slopes: Vec<f32>,
}

impl Plan {
    pub(crate) fn new(program: &Program) -> Result<Plan> {
        check_ids(program)?;
        let rows = needed_rows(program);
        let users = users(program, &rows);
        let steps = steps(program, &rows, &users);
        let (places, n_slots) = places(program, &rows, &steps);
        let mut ropes: Vec<Rope> = Vec::new();
        let rope_of = program.nodes.iter().map(|node| {
            let Op::Rope(rope) = &node.op else { return None };
            let known = ropes
                .iter()
                .position(|known| known.inv_freq == rope.inv_freq && known.scale == rope.scale);
            Some(known.unwrap_or_else(|| {
                ropes.push(rope.clone());
                ropes.len() - 1
            }))
        });
        let rope_of = rope_of.collect();
        let layers = layers(program)?;
        let next_linears = next_linears(&steps);
        Ok(Plan { steps, next_linears, places, n_slots, ropes, rope_of, layers })
    }

    /// The place of a value that is computed.
    pub(crate) fn place(&self, node: NodeId) -> Place {
        self.places[node].expect("steps read and write only values that are needed")
    }
}

/// Ids are looked up and nothing else is.
fn check_ids(program: &Program) -> Result<()> {
    let is_ids = |id: NodeId| matches!(program.nodes[id].op, Op::Tokens | Op::Positions);
    for (id, node) in program.nodes.iter().enumerate() {
        let op = node.op.name();
        for &input in &node.inputs {
            let what = match (&node.op, is_ids(input)) {
                (Op::Embed { .. }, false) => "looks up a value that is not ids",
                (Op::Embed { .. }, true) | (_, false) => continue,
                (_, true) => "computes with ids",
            };
            return Err(Error::Program { node: id, op, what });
        }
    }
    if is_ids(program.logits) {
        let op = program.nodes[program.logits].op.name();
        return Err(Error::Program { node: program.logits, op, what: "ids are no logits" });
    }
    Ok(())
}

/// The attentions in the order of their places in the cache.
fn layers(program: &Program) -> Result<Vec<Layer>> {
    let mut layers = Vec::with_capacity(program.n_layer);
    for (id, node) in program.nodes.iter().enumerate() {
        let Op::Attend { attention, layer } = node.op else { continue };
        if layer != layers.len() || layer >= program.n_layer {
            let what = "its place in the cache is not the next one";
            return Err(Error::Program { node: id, op: node.op.name(), what });
        }
        let slopes =
            attention.alibi_max.map_or(Vec::new(), |max| alibi_slopes(attention.n_head, max));
        layers.push(Layer { attention, slopes });
    }
    Ok(layers)
}

/// Which rows of each value are needed, from the logits backwards.
fn needed_rows(program: &Program) -> Vec<Option<Rows>> {
    let mut needed = vec![None; program.nodes.len()];
    needed[program.logits] = Some(Rows::Wanted);
    for (id, node) in program.nodes.iter().enumerate().rev() {
        let Some(rows) = needed[id] else { continue };
        for (i, &input) in node.inputs.iter().enumerate() {
            // Later tokens need the keys and values of all earlier ones.
            let cached = matches!(node.op, Op::Attend { .. }) && i > 0;
            needed[input] = needed[input].max(Some(if cached { Rows::All } else { rows }));
        }
    }
    needed
}

/// The needed nodes that read each node.
fn users(program: &Program, rows: &[Option<Rows>]) -> Vec<Vec<NodeId>> {
    let mut users = vec![Vec::new(); program.nodes.len()];
    for (id, node) in program.nodes.iter().enumerate().filter(|(id, _)| rows[*id].is_some()) {
        for &input in &node.inputs {
            users[input].push(id);
        }
    }
    users
}

/// The order of the work: that of the program, with products of one value drawn together.
fn steps(program: &Program, rows: &[Option<Rows>], users: &[Vec<NodeId>]) -> Vec<Step> {
    let nodes = &program.nodes;
    let mut done = vec![false; nodes.len()];
    let mut steps = Vec::new();
    for (id, node) in nodes.iter().enumerate() {
        if done[id] || rows[id].is_none() {
            continue;
        }
        match node.op {
            Op::Tokens | Op::Positions => {}
            Op::Linear { .. } => {
                let is_sibling = |&&user: &&NodeId| {
                    matches!(nodes[user].op, Op::Linear { .. }) && rows[user] == rows[id]
                };
                let siblings: Vec<NodeId> =
                    users[node.inputs[0]].iter().filter(is_sibling).copied().collect();
                siblings.iter().for_each(|&sibling| done[sibling] = true);
                let norm =
                    Some(node.inputs[0]).filter(|&id| is_norm_of_products(program, users, id));
                steps.push(Step::Linears { norm, ids: siblings });
            }
            // Done inside the steps of its users.
            Op::LayerNorm { .. } | Op::RmsNorm { .. }
                if is_norm_of_products(program, users, id) => {}
            // Done inside the step of its only user.
            Op::Silu if silu_user(program, users, id).is_some() => {}
            Op::Mul => {
                let [a, b] = [node.inputs[0], node.inputs[1]];
                let drawn_in = |input: NodeId| silu_user(program, users, input) == Some(id);
                let silu_and_up =
                    if drawn_in(a) { Some((a, b)) } else { drawn_in(b).then_some((b, a)) };
                steps.push(match silu_and_up {
                    Some((silu, up)) => {
                        Step::SiluMul { gate: nodes[silu].inputs[0], up, product: id }
                    }
                    None => Step::Node(id),
                });
            }
            _ => steps.push(Step::Node(id)),
        }
    }
    steps
}

/// For each step the next one of products.
fn next_linears(steps: &[Step]) -> Vec<Option<usize>> {
    let mut after = (0..steps.len()).chain(0..steps.len());
    let is_linears = |&i: &usize| matches!(steps[i], Step::Linears { .. });
    (0..steps.len())
        .map(|_| {
            after.next();
            after.clone().find(is_linears)
        })
        .collect()
}

/// Whether a node is a norm that goes into products and nowhere else.
fn is_norm_of_products(program: &Program, users: &[Vec<NodeId>], id: NodeId) -> bool {
    let is_norm = matches!(program.nodes[id].op, Op::LayerNorm { .. } | Op::RmsNorm { .. });
    let is_product = |&user: &NodeId| matches!(program.nodes[user].op, Op::Linear { .. });
    is_norm && id != program.logits && users[id].iter().all(is_product)
}

/// The product that a `silu` goes into, if it goes nowhere else.
fn silu_user(program: &Program, users: &[Vec<NodeId>], id: NodeId) -> Option<NodeId> {
    let is_silu = program.nodes[id].op == Op::Silu;
    match users[id][..] {
        [user] if is_silu && program.nodes[user].op == Op::Mul => {
            let other = program.nodes[user].inputs.iter().find(|&&input| input != id)?;
            // Of two the first is drawn in.
            let both =
                *other < id && program.nodes[*other].op == Op::Silu && users[*other] == [user];
            (!both).then_some(user)
        }
        _ => None,
    }
}

impl Step {
    /// The values that the step reads, those first that it would like to overwrite.
    pub(crate) fn inputs(&self, program: &Program) -> Vec<NodeId> {
        match self {
            Step::Node(id) => program.nodes[*id].inputs.clone(),
            Step::Linears { norm, ids } => program.nodes[norm.unwrap_or(ids[0])].inputs.clone(),
            Step::SiluMul { gate, up, .. } => vec![*gate, *up],
        }
    }

    /// The values that it makes.
    pub(crate) fn outputs(&self) -> Vec<NodeId> {
        match self {
            Step::Node(id) | Step::SiluMul { product: id, .. } => vec![*id],
            Step::Linears { ids, .. } => ids.clone(),
        }
    }

    /// How many of the inputs, from the first, the result may take the place of.
    fn n_replaceable(&self, program: &Program) -> usize {
        match self {
            Step::SiluMul { .. } => 1,
            Step::Linears { .. } => 0,
            Step::Node(id) => match program.nodes[*id].op {
                Op::Add | Op::Mul => 2,
                Op::Rope(_) | Op::Clamp { .. } | Op::Gelu(_) | Op::Silu | Op::Scale { .. } => 1,
                Op::Tokens
                | Op::Positions
                | Op::Embed { .. }
                | Op::Linear { .. }
                | Op::LayerNorm { .. }
                | Op::RmsNorm { .. }
                | Op::Attend { .. }
                | Op::Slice { .. } => 0,
            },
        }
    }
}

/// Gives each value a slot, and counts the slots.
fn places(program: &Program, rows: &[Option<Rows>], steps: &[Step]) -> (Vec<Option<Place>>, usize) {
    let mut last_read = vec![0; program.nodes.len()];
    for (i, step) in steps.iter().enumerate() {
        step.inputs(program).into_iter().for_each(|input| last_read[input] = i);
    }
    last_read[program.logits] = usize::MAX;

    let mut places: Vec<Option<Place>> = vec![None; program.nodes.len()];
    // Slots that hold nothing, with the width they were made for.
    let mut free: Vec<(usize, SlotId)> = Vec::new();
    let mut n_slots = 0;
    for (i, step) in steps.iter().enumerate() {
        let inputs = step.inputs(program);
        let is_once = |input: NodeId| inputs.iter().filter(|&&other| other == input).count() == 1;
        for output in step.outputs() {
            let (width, needed) =
                (program.width(output), rows[output].expect("steps are of needed nodes"));
            let replaced = inputs[..step.n_replaceable(program)].iter().copied().find(|&input| {
                let same_rows = places[input].is_some_and(|place| place.rows == needed);
                last_read[input] == i && is_once(input) && same_rows
            });
            let slot = match replaced {
                Some(input) => places[input].expect("it has rows").slot,
                None => match free.iter().position(|&(free_width, _)| free_width == width) {
                    Some(position) => free.swap_remove(position).1,
                    None => {
                        n_slots += 1;
                        n_slots - 1
                    }
                },
            };
            places[output] = Some(Place { rows: needed, slot });
        }
        let taken: Vec<SlotId> =
            step.outputs().iter().filter_map(|&id| Some(places[id]?.slot)).collect();
        for (j, &input) in inputs.iter().enumerate() {
            let first_mention = !inputs[..j].contains(&input);
            if let Some(place) = places[input]
                && last_read[input] == i
                && first_mention
                && !taken.contains(&place.slot)
            {
                free.push((program.width(input), place.slot));
            }
        }
    }
    (places, n_slots)
}

#[cfg(test)]
mod tests;
