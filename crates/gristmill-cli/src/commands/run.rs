//! `run`: write text, once or in a conversation.

use gristmill::runtime::{Session, SessionOptions};
use gristmill::{FinishReason, Timings};

use crate::args::Run;
use crate::chat::{Message, Template};
use crate::exit::{Failure, Result, at};
use crate::generate::{as_json, generate, print_timings, sampler};
use crate::interactive::Input;
use crate::limits::{Work, memory_to_read};
use crate::model::{self, Loaded};
use crate::output::say;
use crate::{human, interrupt, output};

/// Tokens of context where nobody says.
const DEFAULT_CTX: usize = 4096;

/// Runs.
pub(crate) fn run(args: Run) -> Result {
    let loaded = Loaded::open_in(&args.model.model, &args.model.source_args, args.model.memory)?;
    let n_ctx = match (args.model.ctx_size, loaded.trained_context()) {
        (Some(0), Some(trained)) => trained,
        (Some(0), None) => return Err("the model does not say its context; give -c N".into()),
        (Some(asked), _) => asked,
        (None, trained) => trained.unwrap_or(DEFAULT_CTX).min(DEFAULT_CTX),
    };
    let prompt = prompt(&args, &loaded)?;
    let options = &args.model;
    let mut session = model::session(
        &loaded,
        n_ctx,
        options.batch_size,
        options.threads,
        options.cache_type,
        options.deterministic,
    )?;
    match prompt {
        Some(prompt) => once(&args, &loaded, &mut session, &prompt),
        None => converse(&args, &loaded, &mut session),
    }
}

/// The tokens to start from; `None` begins a conversation.
fn prompt(args: &Run, loaded: &Loaded) -> Result<Option<Vec<u32>>> {
    if let Some(ids) = &args.tokens {
        return Ok(Some(ids.clone()));
    }
    let text = match (&args.prompt, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(at(file.display()))?,
        (None, None) => return Ok(None),
    };
    if !args.chat {
        return loaded.encode(&text, true, true).map(Some);
    }
    let template = template(loaded)?.ok_or("the model has no chat template; leave out --chat")?;
    let adds_bos = loaded.tokenizer()?.adds_bos();
    let rendered = template.render_for(&first_messages(args, text), adds_bos)?;
    loaded.encode(&rendered, true, true).map(Some)
}

fn template(loaded: &Loaded) -> Result<Option<Template>> {
    let tokenizer = loaded.tokenizer()?;
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id));
    let template =
        |source: &str| Template::new(source, text(tokenizer.bos()), text(tokenizer.eos()));
    Ok(tokenizer.chat_template().map(template))
}

fn first_messages(args: &Run, text: String) -> Vec<Message> {
    let system =
        args.system_prompt.iter().map(|text| Message { role: "system", content: text.clone() });
    system.chain([Message { role: "user", content: text }]).collect()
}

/// One prompt, one continuation.
fn once(args: &Run, loaded: &Loaded, session: &mut Session, prompt: &[u32]) -> Result {
    if prompt.is_empty() {
        return Err(
            "the prompt is empty and the model has no beginning-of-text token; give some text"
                .into(),
        );
    }
    let mut sampler = sampler(&args.sampling, session.n_ctx());
    if !args.json
        && !args.chat
        && let Some(text) = &args.prompt
    {
        output::text(text);
    }
    let generation = generate(args, loaded, session, &mut sampler, prompt)?;
    if args.json {
        say!("{}", as_json(prompt, &generation, loaded.load_time));
        return Ok(());
    }
    say!();
    if !args.quiet {
        print_timings(loaded.load_time, &generation.timings);
        if let Some(peak) = human::peak_memory() {
            eprintln!("{:>17} = {}", "peak memory", human::bytes(peak));
        }
        if args.verbose {
            print_shares(args, loaded, &generation.timings)?;
        }
    }
    match generation.finish_reason {
        FinishReason::Interrupted => Err(Failure::Interrupted),
        _ => Ok(()),
    }
}

/// How near a run came to the limits of this machine.
fn print_shares(args: &Run, loaded: &Loaded, timings: &Timings) -> Result {
    let n_threads = args.model.threads.unwrap_or(SessionOptions::default().n_threads);
    let work = Work::of(loaded);
    let limits = work.limits(n_threads, &memory_to_read(n_threads)?);
    let mut shares =
        vec![format!("prompt {}", work.prefill(&limits, timings.n_prompt, timings.prompt))];
    if timings.n_decoded > 0 {
        let (cache, n_decoded) = (args.model.cache_type.into(), timings.n_decoded);
        let cached_bytes = work.cached_bytes(cache, timings.n_prompt, n_decoded);
        let rate = n_decoded as f64 / timings.decode.as_secs_f64();
        shares.push(format!("decoding {}", work.decode(&limits, cached_bytes, rate)));
    }
    eprintln!("{:>17} = {}", "of the limits", shares.join(", "));
    Ok(())
}

/// A conversation: turn by turn, through the model's chat template where it has one.
fn converse(args: &Run, loaded: &Loaded, session: &mut Session) -> Result {
    let template = if args.no_chat { None } else { template(loaded)? };
    let adds_bos = loaded.tokenizer()?.adds_bos();
    let mut input = Input::new()?;
    let mut sampler = sampler(&args.sampling, session.n_ctx());
    let mut messages: Vec<Message> = Vec::new();
    // The tokens that the session holds, so that each turn feeds only what is new.
    let mut held: Vec<u32> = Vec::new();
    while let Some(line) = input.next()? {
        let wanted = match &template {
            Some(template) => {
                if messages.is_empty() {
                    messages = first_messages(args, line);
                } else {
                    messages.push(Message { role: "user", content: line });
                }
                loaded.encode(&template.render_for(&messages, adds_bos)?, true, true)?
            }
            None => {
                let mut wanted = held.clone();
                wanted.extend(loaded.encode(&line, held.is_empty(), true)?);
                wanted
            }
        };
        let shared = held.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        // At least one token must be fed to have logits.
        let shared = shared.min(wanted.len().saturating_sub(1));
        session.rewind(shared);
        held.truncate(shared);
        let generation = generate(args, loaded, session, &mut sampler, &wanted[shared..])?;
        say!();
        held = wanted;
        held.extend(&generation.tokens);
        held.truncate(session.n_past());
        if template.is_some() {
            messages.push(Message { role: "assistant", content: generation.text.clone() });
        }
        if args.json {
            say!("{}", as_json(&held, &generation, loaded.load_time));
        } else if !args.quiet {
            print_timings(loaded.load_time, &generation.timings);
        }
        if session.n_past() >= session.n_ctx() {
            return Err(format!(
                "the context of {} tokens is full; begin again, with -c N for a larger one",
                session.n_ctx()
            )
            .into());
        }
        interrupt::take();
    }
    Ok(())
}
