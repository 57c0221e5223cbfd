//! What a session promises: that how it is fed, by how many threads, and what it held before make no difference.

mod support;

use std::sync::Arc;

use gristmill_graph::{Attention, Graph};
use gristmill_runtime::{
    CacheType, Chain, Error, Model, Sampler, SamplerOptions, Session, SessionOptions, feed_together,
};
use gristmill_tensor::{DType, Metadata, TensorInfo};
use gristmill_testkit::MemoryCheckpoint;
use gristmill_testkit::compare::assert_close;
use support::{KINDS, Kind, N_VOCAB, model, program, session, tokens, weights};

/// The logits after every token, as one list.
fn all_logits(session: &mut Session, tokens: &[u32]) -> Vec<f32> {
    let mut all = Vec::new();
    let mut next = 0;
    let mut each = |first: usize, logits: &[f32]| {
        assert_eq!(first, next, "rows come in order");
        next += logits.len() / N_VOCAB;
        all.extend_from_slice(logits);
    };
    session.feed_all(tokens, &mut each).expect("tokens that fit");
    assert_eq!(all.len(), tokens.len() * N_VOCAB);
    all
}

#[test]
fn feeding_at_once_equals_feeding_one_by_one() {
    for kind in KINDS {
        for cache in [CacheType::F32, CacheType::F16, CacheType::Q8_0] {
            let model = model(kind);
            let tokens = tokens(300);
            let mut at_once = session(&model, |options| options.cache = cache);
            let all = all_logits(&mut at_once, &tokens);
            let mut one_by_one = session(&model, |options| options.cache = cache);
            for (i, &token) in tokens.iter().enumerate() {
                let logits = one_by_one.feed(&[token]).unwrap();
                assert!(logits == &all[i * N_VOCAB..][..N_VOCAB], "{kind:?} {cache:?}: token {i}");
            }
            let mut last_only = session(&model, |options| options.cache = cache);
            assert!(
                last_only.feed(&tokens).unwrap() == &all[299 * N_VOCAB..],
                "{kind:?} {cache:?}"
            );
            // What they keep is the same, so they go on alike.
            let next = at_once.feed(&[7]).unwrap().to_vec();
            assert!(last_only.feed(&[7]).unwrap() == next, "{kind:?} {cache:?}");
        }
    }
}

#[test]
fn texts_fed_together_are_those_fed_alone() {
    for kind in KINDS {
        let model = model(kind);
        let prompts = [3, 140, 27].map(tokens);
        let mut alone: Vec<Session> = prompts.iter().map(|_| session(&model, |_| ())).collect();
        let mut together: Vec<Session> = prompts.iter().map(|_| session(&model, |_| ())).collect();
        for (i, prompt) in prompts.iter().enumerate() {
            alone[i].feed(prompt).unwrap();
            together[i].feed(prompt).unwrap();
        }
        for step in 0..4 {
            let next = [step, step + 5, 9];
            let mut all: Vec<&mut Session> = together.iter_mut().collect();
            feed_together(&mut all, &next).unwrap();
            for (i, alone) in alone.iter_mut().enumerate() {
                let expected = alone.feed(&[next[i]]).unwrap();
                assert!(together[i].logits().unwrap() == expected, "{kind:?}: text {i}");
                assert_eq!(together[i].tokens(), alone.tokens());
            }
        }
        // They go their own ways afterwards.
        let expected = alone[1].feed(&[1, 2]).unwrap().to_vec();
        assert!(together[1].feed(&[1, 2]).unwrap() == expected, "{kind:?}");
    }
}

#[test]
fn only_what_belongs_together_is_fed_together() {
    let mut sessions = [(); 2].map(|()| session(&model(KINDS[0]), |_| ()));
    let [a, b] = &mut sessions;
    assert!(matches!(feed_together(&mut [a, b], &[1, 2]), Err(Error::NotTogether)));
    assert!(matches!(feed_together(&mut [a], &[1, 2]), Err(Error::NotTogether)));
    assert!(matches!(feed_together(&mut [], &[]), Err(Error::NoTokens)));
    assert!(matches!(feed_together(&mut [a], &[9999]), Err(Error::TokenOutOfRange { .. })));
    assert_eq!(a.n_past(), 0);
    assert!(feed_together(&mut [a], &[1]).is_ok());
    assert_eq!(a.tokens(), [1]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for kind in KINDS {
        let model = model(kind);
        let tokens = tokens(150);
        let run = |n_threads| {
            let mut session = session(&model, |options| options.n_threads = n_threads);
            let mut logits = all_logits(&mut session, &tokens);
            (0..5).for_each(|token| logits.extend_from_slice(session.feed(&[token]).unwrap()));
            logits
        };
        let expected = run(1);
        for n_threads in [2, 3, 8] {
            assert!(run(n_threads) == expected, "{kind:?} with {n_threads} threads");
        }
    }
}

#[test]
fn batch_sizes_do_not_matter() {
    for kind in KINDS {
        let model = model(kind);
        let tokens = tokens(200);
        let open = |n_batch| {
            session(&model, |options| (options.n_batch, options.cache) = (n_batch, CacheType::F32))
        };
        let expected = open(512).feed(&tokens).unwrap().to_vec();
        for n_batch in [0, 1, 2, 7, 64, 199] {
            let mut session = open(n_batch);
            assert!(session.feed(&tokens).unwrap() == expected, "{kind:?} in batches of {n_batch}");
        }
    }
}

#[test]
fn rewinding_equals_never_having_fed() {
    for kind in KINDS {
        let model = model(kind);
        let tokens = tokens(200);
        let mut fresh = session(&model, |_| ());
        fresh.feed(&tokens[..130]).unwrap();
        let expected = fresh.feed(&tokens[140..170]).unwrap().to_vec();

        let mut rewound = session(&model, |_| ());
        rewound.feed(&tokens[..130]).unwrap();
        rewound.feed(&tokens[50..120]).unwrap();
        rewound.rewind(130);
        assert_eq!((rewound.n_past(), rewound.tokens()), (130, &tokens[..130]));
        assert!(rewound.logits().is_none());
        assert!(rewound.feed(&tokens[140..170]).unwrap() == expected, "{kind:?}");
        // Rewinding forward does nothing.
        rewound.rewind(1000);
        assert_eq!(rewound.n_past(), 160);
        assert_eq!(rewound.logits(), Some(&expected[..]));
    }
}

#[test]
fn sessions_of_one_model_do_not_meet() {
    let model = model(Kind::Llama);
    let tokens = tokens(40);
    let expected = session(&model, |_| ()).feed(&tokens).unwrap().to_vec();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (model, tokens, expected) = (Arc::clone(&model), tokens.clone(), expected.clone());
            std::thread::spawn(move || {
                let mut session = session(&model, |_| ());
                session.feed(&tokens[..13]).unwrap();
                session.feed(&tokens[13..]).unwrap();
                assert_close(session.logits().unwrap(), &expected, 2e-3);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_cannot_be_fed_leaves_the_session_as_it_was() {
    let model = model(Kind::GptJ);
    let mut session = session(&model, |options| options.n_ctx = 10);
    assert!(session.logits().is_none());
    let before = session.feed(&[1, 2, 3]).unwrap().to_vec();
    assert!(matches!(session.feed(&[]), Err(Error::NoTokens)));
    assert!(matches!(
        session.feed(&[1, N_VOCAB as u32]),
        Err(Error::TokenOutOfRange { id: 61, n_vocab: 61 })
    ));
    let full = session.feed(&[0; 8]);
    assert!(matches!(full, Err(Error::ContextFull { n_ctx: 10, n_past: 3, n_tokens: 8 })));
    assert!(session.feed_all(&[0; 8], &mut |_, _| unreachable!("nothing is fed")).is_err());
    assert_eq!((session.n_past(), session.logits()), (3, Some(&before[..])));
    session.feed(&[0; 7]).unwrap();
    assert_eq!(session.n_past(), session.n_ctx());
    assert!(matches!(session.feed(&[0]), Err(Error::ContextFull { .. })));
}

#[test]
fn absurd_contexts_are_refused_before_memory_is_taken() {
    let open = |kind, n_ctx| {
        Session::new(
            model(kind),
            SessionOptions { n_ctx, n_threads: 1, ..SessionOptions::default() },
        )
        .map(|_| ())
    };
    for n_ctx in [1 << 25, usize::MAX] {
        assert!(matches!(open(Kind::Llama, n_ctx), Err(Error::ContextTooLong { .. })), "{n_ctx}");
    }
    assert!(open(Kind::Llama, 1 << 24).is_ok());
    assert!(open(Kind::Gpt2, 400).is_ok());
    let error = open(Kind::Gpt2, 401).unwrap_err();
    assert!(matches!(error, Error::ContextTooLong { n_ctx: 401, limit: 400, .. }), "{error}");
    assert_eq!(model(Kind::Gpt2).max_n_ctx(), Some(400));
    assert_eq!(model(Kind::Llama).max_n_ctx(), None);
}

#[test]
fn weights_must_be_the_programs() {
    let whole = weights(Kind::Llama);
    let program = program(Kind::Llama, &whole);
    let error = |change: &dyn Fn(&mut TensorInfo, &mut Vec<u8>) -> bool| {
        let mut tensors = weights(Kind::Llama).into_tensors();
        tensors.retain_mut(|(info, bytes)| change(info, bytes));
        let checkpoint = MemoryCheckpoint::new("test", Metadata::new("test"), tensors);
        Model::bind(program.clone(), &checkpoint).unwrap_err().to_string()
    };
    let missing = error(&|info, _| info.name != "blk.1.ffn_up.weight");
    assert_eq!(missing, "test: tensor blk.1.ffn_up.weight is missing");
    let turned = error(&|info, _| {
        if info.name == "blk.1.ffn_up.weight" {
            info.shape = [24, 40].into();
        }
        true
    });
    assert!(
        turned.contains("blk.1.ffn_up.weight has shape [24, 40] where the program says [40, 24]"),
        "{turned}"
    );
}

#[test]
fn a_type_without_arithmetic_is_refused_by_name() {
    let info = TensorInfo::new("token_embd.weight", DType::IQ1_S, [2, 256]);
    let bytes = vec![0; info.n_bytes() as usize];
    let weights = MemoryCheckpoint::new("test", Metadata::new("test"), [(info, bytes)]);
    let graph = Graph::new([("token_embd.weight".to_string(), vec![2, 256])]);
    let logits = graph.tokens().embed("token_embd").linear("token_embd").id();
    let error = Model::bind(graph.finish(logits).unwrap(), &weights).unwrap_err().to_string();
    assert!(error.contains("token_embd.weight") && error.contains("IQ1_S"), "{error}");
}

#[test]
fn generating_is_feeding_and_sampling_in_turn() {
    let model = model(Kind::Mpt);
    let options = || SamplerOptions { seed: Some(3), ..SamplerOptions::default() };
    let prompt = tokens(20);

    let mut by_hand = session(&model, |_| ());
    let mut sampler = Chain::new(options());
    let mut expected = Vec::new();
    let mut next = prompt.clone();
    for _ in 0..12 {
        let token = sampler.sample(by_hand.feed(&next).unwrap());
        expected.push(token);
        next = vec![token];
    }

    let mut session = session(&model, |_| ());
    let mut sampler = Chain::new(options());
    let text: Vec<u32> =
        session.generate(&mut sampler, &prompt).take(12).collect::<Result<_, _>>().unwrap();
    assert_eq!(text, expected);
    // The last token was not fed.
    assert_eq!(session.n_past(), 20 + 11);
}

#[test]
fn generating_ends_at_a_stop_token_or_with_the_context() {
    let model = model(Kind::Llama);
    let greedy = || Chain::new(SamplerOptions { temp: 0.0, ..SamplerOptions::default() });
    let mut long = session(&model, |options| options.n_ctx = 30);
    let results: Vec<_> = long.generate(&mut greedy(), &tokens(20)).collect();
    assert_eq!(results.len(), 12, "ten were fed, the eleventh did not fit");
    assert!(results[..11].iter().all(|result| result.is_ok()));
    assert!(matches!(results[11], Err(Error::ContextFull { n_ctx: 30, .. })));

    let text: Vec<u32> = results.into_iter().filter_map(Result::ok).collect();
    let stop = *text.iter().find(|&&token| token != text[0]).unwrap_or(&text[0]);
    let until = text.iter().position(|&token| token == stop).unwrap();
    let mut short = session(&model, |_| ());
    let stopped: Vec<u32> = short
        .generate(&mut greedy(), &tokens(20))
        .until(&[stop])
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(stopped, text[..until]);

    // Without a prompt it goes on from where the session is, if it is anywhere.
    let again: Vec<u32> =
        short.generate(&mut greedy(), &[]).take(1).collect::<Result<_, _>>().unwrap();
    assert_eq!(again, [stop]);
    assert!(matches!(
        session(&model, |_| ()).generate(&mut greedy(), &[]).next(),
        Some(Err(Error::NoTokens))
    ));
}

#[test]
fn a_model_whose_logits_come_straight_from_attention_runs() {
    // No row-wise operation behind attention, and the same value as query, key and value.
    let bytes: Vec<u8> =
        (0..40u16).flat_map(|i| (f32::from(i * 7 % 11) / 8.0 - 0.6).to_le_bytes()).collect();
    let info = TensorInfo::new("token_embd.weight", DType::F32, [10, 4]);
    let weights = MemoryCheckpoint::new("test", Metadata::new("test"), [(info, bytes)]);
    let graph = Graph::new([("token_embd.weight".to_string(), vec![10, 4])]);
    let x = graph.tokens().embed("token_embd");
    let attention = Attention {
        n_head: 1,
        n_head_kv: 1,
        head_dim: 4,
        scale: 1.0,
        alibi_max: None,
        window: None,
    };
    let y = x.attend(x, x, attention);
    // Values with themselves, and one that is read again later.
    let logits = (y + y * y + x).id();
    let model = Arc::new(Model::bind(graph.finish(logits).unwrap(), &weights).unwrap());
    assert_eq!((model.n_vocab(), model.n_layer(), model.weight_bytes()), (4, 1, 160));
    let mut at_once = session(&model, |_| ());
    let expected = at_once.feed(&[1, 5, 9]).unwrap().to_vec();
    let mut one_by_one = session(&model, |_| ());
    [1, 5].iter().for_each(|&token| drop(one_by_one.feed(&[token]).unwrap().to_vec()));
    assert_eq!(one_by_one.feed(&[9]).unwrap(), expected);
    let timings = (at_once.timings(), one_by_one.timings());
    assert_eq!((timings.0.n_prompt, timings.0.n_eval), (3, 0));
    assert_eq!((timings.1.n_prompt, timings.1.n_eval), (0, 3));
    assert!(timings.1.eval > std::time::Duration::ZERO);
}
