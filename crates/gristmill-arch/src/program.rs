//! From a checkpoint under house names to a checked program.

use std::collections::HashSet;

use gristmill_graph::{Graph, Program};
use gristmill_tensor::Checkpoint;

use crate::{Architecture, Error, Hparams, Result, Role, architecture_of, role_of};

/// The forward pass of the model in `checkpoint`, whose tensors have house names and whose metadata has GGUF's keys.
///
/// # Errors
/// When the architecture is unknown, a number is missing or implausible, or a weight is missing, left over, or of a
/// shape that does not fit.
pub fn program(checkpoint: &dyn Checkpoint) -> Result<(Hparams, Program)> {
    let arch = architecture_of(checkpoint.metadata())?;
    let hp = Hparams::from_metadata(arch, checkpoint.metadata(), checkpoint)?;
    check_completeness(arch, &hp, checkpoint)?;
    // The divisors of the rotary frequencies went into the hyperparameters.
    let of_the_graph = |name: &str| role_of(arch, name) != Some(Role::RopeFreqs);
    let weights = checkpoint.tensors().iter().filter(|info| of_the_graph(&info.name));
    let graph = Graph::new(weights.map(|info| (info.name.clone(), info.shape.dims().to_vec())));
    let logits = arch.graph(&hp, &graph).id();
    let program =
        graph.finish(logits).map_err(|source| Error::Graph { file: checkpoint.name(), source })?;
    let n_logits = program.width(program.logits);
    if n_logits != hp.n_vocab {
        let what = format!("gives {n_logits} logits where the embedding has {} rows", hp.n_vocab);
        let name = "output.weight".into();
        return Err(Error::BadTensor { file: checkpoint.name(), name, what });
    }
    Ok((hp, program))
}

/// Refuses a checkpoint that lacks a weight which every model of its architecture has. The graph would not miss a
/// bias, and names what it misses less well.
fn check_completeness(
    arch: &dyn Architecture,
    hp: &Hparams,
    checkpoint: &dyn Checkpoint,
) -> Result<()> {
    let present: HashSet<&str> =
        checkpoint.tensors().iter().map(|info| info.name.as_str()).collect();
    for rule in arch.weights().iter().filter(|rule| !rule.optional) {
        let copies = if rule.name.contains("{}") { hp.n_layer } else { 1 };
        for il in 0..copies {
            let name = rule.name.replace("{}", &il.to_string());
            if !present.contains(name.as_str()) {
                return Err(Error::MissingTensor { file: checkpoint.name(), name });
            }
        }
    }
    Ok(())
}
