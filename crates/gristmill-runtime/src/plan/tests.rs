use super::*;
use gristmill_graph::{Attention, Graph, RopeStyle};

/// A block with everything that the plan decides on.
fn program() -> Program {
    let weights = [
        ("token_embd.weight", vec![50, 8]),
        ("attn_norm.weight", vec![8]),
        ("attn_q.weight", vec![8, 8]),
        ("attn_k.weight", vec![8, 8]),
        ("attn_v.weight", vec![8, 8]),
        ("ffn_gate.weight", vec![12, 8]),
        ("ffn_up.weight", vec![12, 8]),
        ("ffn_down.weight", vec![8, 12]),
    ];
    let graph = Graph::new(weights.map(|(name, shape)| (name.to_string(), shape)));
    let attention = Attention {
        n_head: 2,
        n_head_kv: 2,
        head_dim: 4,
        scale: 0.5,
        alibi_max: None,
        window: None,
    };
    let rope =
        Rope { style: RopeStyle::Halves, head_dim: 4, inv_freq: [1.0, 0.1].into(), scale: 1.0 };
    let x = graph.tokens().embed("token_embd");
    let h = x.rms_norm("attn_norm", 1e-5);
    let (q, k, v) =
        (h.linear("attn_q").rope(&rope), h.linear("attn_k").rope(&rope), h.linear("attn_v"));
    let x = x + q.attend(k, v, attention);
    let x = x + (x.linear("ffn_gate").silu() * x.linear("ffn_up")).linear("ffn_down");
    let logits = x.linear("token_embd").id();
    graph.finish(logits).unwrap()
}

#[test]
fn products_of_one_value_are_one_step_unless_their_rows_differ() {
    let program = program();
    let plan = Plan::new(&program).unwrap();
    let linears: Vec<Vec<&str>> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Linears { ids, .. } => Some(ids),
            _ => None,
        })
        .map(|ids| {
            let name = |id: &NodeId| match program.nodes[*id].op {
                Op::Linear { weight, .. } => program.weights[weight].name.as_str(),
                _ => panic!("a product"),
            };
            ids.iter().map(name).collect()
        })
        .collect();
    // The query is needed for the wanted rows only, keys and values for all.
    let expected: [&[&str]; 5] = [
        &["attn_q.weight"],
        &["attn_k.weight", "attn_v.weight"],
        &["ffn_gate.weight", "ffn_up.weight"],
        &["ffn_down.weight"],
        &["token_embd.weight"],
    ];
    assert_eq!(linears, expected);
}

#[test]
fn a_norm_is_drawn_into_all_products_that_read_it() {
    let program = program();
    let plan = Plan::new(&program).unwrap();
    let is_norm = |id: NodeId| matches!(program.nodes[id].op, Op::RmsNorm { .. });
    let norm = (0..program.nodes.len()).find(|&id| is_norm(id)).unwrap();
    let drawn_in = plan.steps.iter().filter(|step| {
        matches!(step, Step::Linears { norm: Some(id), .. } if *id == norm)
            && step.inputs(&program) == program.nodes[norm].inputs
    });
    assert_eq!(drawn_in.count(), 2);
    assert_eq!(plan.places[norm], None, "it needs no place");
    assert!(!plan.steps.contains(&Step::Node(norm)));
}

#[test]
fn a_norm_that_is_also_added_is_a_step() {
    let weights =
        [("token_embd.weight", vec![50, 8]), ("norm.weight", vec![8]), ("w.weight", vec![8, 8])];
    let graph = Graph::new(weights.map(|(name, shape)| (name.to_string(), shape)));
    let h = graph.tokens().embed("token_embd").rms_norm("norm", 1e-5);
    let logits = (h + h.linear("w")).id();
    let program = graph.finish(logits).unwrap();
    let plan = Plan::new(&program).unwrap();
    let is_norm = |id: NodeId| matches!(program.nodes[id].op, Op::RmsNorm { .. });
    let norm = (0..program.nodes.len()).find(|&id| is_norm(id)).unwrap();
    assert!(plan.steps.contains(&Step::Node(norm)));
    assert!(plan.steps.iter().all(|step| !matches!(step, Step::Linears { norm: Some(_), .. })));
}

#[test]
fn after_the_last_attention_only_wanted_rows_are_computed() {
    let program = program();
    let plan = Plan::new(&program).unwrap();
    for (id, node) in program.nodes.iter().enumerate() {
        let Some(place) = plan.places[id] else { continue };
        let after = program.nodes[..=id].iter().any(|node| matches!(node.op, Op::Attend { .. }));
        if after {
            assert_eq!(place.rows, Rows::Wanted, "{}", node.op.name());
        }
    }
    assert_eq!(plan.ropes.len(), 1, "equal embeddings share a table");
}

/// Plays the steps and checks that no step reads a slot whose value was replaced in the meantime.
#[test]
fn no_value_is_overwritten_before_its_last_reader() {
    let program = program();
    let plan = Plan::new(&program).unwrap();
    let mut holds = vec![None; plan.n_slots];
    for step in &plan.steps {
        for input in step.inputs(&program) {
            if let Some(place) = plan.places[input] {
                assert_eq!(holds[place.slot], Some(input), "{step:?} reads %{input}");
            }
        }
        let outputs = step.outputs();
        for &output in &outputs {
            holds[plan.place(output).slot] = Some(output);
        }
        let mut slots: Vec<SlotId> = outputs.iter().map(|&id| plan.place(id).slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), outputs.len(), "each output has a slot of its own");
    }
    assert_eq!(holds[plan.place(program.logits).slot], Some(program.logits));
    assert!(plan.n_slots <= 9, "{} slots", plan.n_slots);
}

#[test]
fn the_gate_and_the_sum_are_computed_in_place() {
    let program = program();
    let plan = Plan::new(&program).unwrap();
    for step in &plan.steps {
        let in_place = match step {
            Step::SiluMul { product, .. } => Some(*product),
            Step::Node(id) if matches!(program.nodes[*id].op, Op::Rope(_)) => Some(*id),
            _ => None,
        };
        if let Some(id) = in_place {
            let input = step.inputs(&program)[0];
            assert_eq!(plan.place(id).slot, plan.place(input).slot, "{step:?}");
        }
    }
}

#[test]
fn computing_with_ids_is_refused() {
    let graph = Graph::new([("token_embd.weight".to_string(), vec![50, 8])]);
    let tokens = graph.tokens();
    let logits = (tokens.embed("token_embd") + tokens.scale(2.0).embed("token_embd")).id();
    let program = graph.finish(logits).unwrap();
    assert!(matches!(Plan::new(&program), Err(Error::Program { op: "scale", .. })));
}
