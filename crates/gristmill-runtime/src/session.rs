//! A text in progress: the tokens so far, what attention keeps of them, and the threads that work on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_kernels::{CacheType, KvCache, Team};

use crate::cores::physical_cores;
use crate::execute::{Batch, Memory, run};
use crate::{Error, Model, Result, TokenId};

/// How a session works.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The most tokens it can hold.
    pub n_ctx: usize,
    /// The most tokens that are computed at once.
    pub n_batch: usize,
    /// Threads; the number changes no result.
    pub n_threads: usize,
    /// How keys and values are kept.
    pub cache: CacheType,
    /// Whether logits must be the same to the last bit however the tokens are cut into batches. They are anyway but for
    /// F16 and BF16 weights, whose batches are multiplied about half as fast then.
    pub deterministic: bool,
}

impl Default for SessionOptions {
    /// 2048 tokens, batches of 512, a thread for each physical core available to the process, keys and values in
    /// half precision.
    fn default() -> SessionOptions {
        SessionOptions {
            n_ctx: 2048,
            n_batch: 512,
            n_threads: physical_cores(),
            cache: CacheType::F16,
            deterministic: false,
        }
    }
}

/// Time spent feeding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Tokens fed several at a time.
    pub n_prompt: usize,
    /// The time that took.
    pub prompt: Duration,
    /// Tokens fed one at a time.
    pub n_eval: usize,
    /// The time that took.
    pub eval: Duration,
}

/// The longest context: positions up to here are exact in single precision.
const MAX_N_CTX: usize = 1 << 24;

/// The most logits that are computed at once.
const MAX_LOGITS: usize = 1 << 23;

/// A sequence of tokens that grows by [`feed`](Self::feed), over a shared [`Model`].
pub struct Session {
    model: Arc<Model>,
    n_ctx: usize,
    n_batch: usize,
    team: Team,
    memory: Memory,
    tokens: Vec<TokenId>,
    /// Whether the last run gave the logits after the last token.
    has_logits: bool,
    timings: Timings,
}

impl Session {
    /// An empty session. Memory for keys and values is taken as the text grows.
    ///
    /// # Errors
    /// [`Error::ContextTooLong`] when `n_ctx` is more than the model has positions for, or than any machine has
    /// memory for.
    pub fn new(model: Arc<Model>, options: SessionOptions) -> Result<Session> {
        let SessionOptions { n_ctx, n_batch, n_threads, cache, deterministic } = options;
        let too_long = |reason, limit| Error::ContextTooLong { n_ctx, reason, limit };
        if let Some(limit) = model.max_n_ctx().filter(|&limit| n_ctx > limit) {
            return Err(too_long("the model's table of positions ends at", limit));
        }
        if n_ctx > MAX_N_CTX {
            return Err(too_long("positions are exact up to", MAX_N_CTX));
        }
        let layers = model.plan().layers.iter().map(|layer| layer.attention);
        let mut bytes = 0usize;
        let mut caches = Vec::new();
        for layer in layers {
            let of_layer = KvCache::bytes_for(layer.n_head_kv, layer.head_dim, cache, n_ctx);
            let total = of_layer.and_then(|of_layer| bytes.checked_add(of_layer));
            let Some(total) = total.filter(|&total| isize::try_from(total).is_ok()) else {
                return Err(too_long(
                    "its keys and values take more bytes than",
                    isize::MAX as usize,
                ));
            };
            bytes = total;
            caches.push(KvCache::new(layer.n_head_kv, layer.head_dim, cache));
        }
        Ok(Session {
            memory: Memory::new(model.plan(), caches, deterministic),
            team: Team::new(n_threads.max(1)),
            n_ctx,
            n_batch: n_batch.max(1),
            tokens: Vec::new(),
            has_logits: false,
            timings: Timings::default(),
            model,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The most tokens it can hold.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// How many tokens it holds.
    pub fn n_past(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens it holds.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// How long feeding took so far.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// The logits after the last token, unless nothing was fed yet or since [`rewind`](Self::rewind).
    pub fn logits(&self) -> Option<&[f32]> {
        let all = self.has_logits.then(|| self.memory.logits(&self.model))?;
        Some(&all[all.len() - self.model.n_vocab()..])
    }

    /// Appends `tokens`, one or many, and gives the logits of what follows the last: `n_vocab` of them.
    ///
    /// # Errors
    /// [`Error::NoTokens`], [`Error::TokenOutOfRange`] and [`Error::ContextFull`], with the session unchanged;
    /// [`Error::OutOfMemory`].
    pub fn feed(&mut self, tokens: &[TokenId]) -> Result<&[f32]> {
        let started = self.begin(tokens)?;
        let n_pieces = tokens.len().div_ceil(self.n_batch);
        for (i, piece) in tokens.chunks(self.n_batch).enumerate() {
            self.run(piece, usize::from(i + 1 == n_pieces))?;
        }
        self.count(tokens.len(), started.elapsed());
        Ok(self.logits().expect("they were just computed"))
    }

    /// Appends `tokens` and gives the logits after each of them to `each(first, logits)`, batch by batch: row `i` of
    /// `logits`, `n_vocab` wide, belongs to `tokens[first + i]`.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn feed_all(
        &mut self,
        tokens: &[TokenId],
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let started = self.begin(tokens)?;
        let n_batch = self.n_batch.min((MAX_LOGITS / self.model.n_vocab().max(1)).max(1));
        for (i, piece) in tokens.chunks(n_batch).enumerate() {
            self.run(piece, piece.len())?;
            each(i * n_batch, self.memory.logits(&self.model));
        }
        self.count(tokens.len(), started.elapsed());
        Ok(())
    }

    /// Forgets all tokens from position `n_past` on, as if they had never been fed.
    pub fn rewind(&mut self, n_past: usize) {
        if n_past < self.tokens.len() {
            self.tokens.truncate(n_past);
            self.has_logits = false;
        }
    }

    /// Checks that `tokens` can be fed.
    fn begin(&self, tokens: &[TokenId]) -> Result<Instant> {
        let n_vocab = self.model.n_token_ids();
        if tokens.is_empty() {
            return Err(Error::NoTokens);
        }
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(Error::TokenOutOfRange { id, n_vocab });
        }
        let (n_ctx, n_past, n_tokens) = (self.n_ctx, self.n_past(), tokens.len());
        if n_tokens > n_ctx - n_past {
            return Err(Error::ContextFull { n_ctx, n_past, n_tokens });
        }
        Ok(Instant::now())
    }

    /// Appends one batch.
    fn run(&mut self, tokens: &[TokenId], n_wanted: usize) -> Result<()> {
        let first = self.n_past();
        let n_tokens = first + tokens.len();
        for cache in &mut self.memory.caches {
            cache.reserve(n_tokens).map_err(|_| Error::OutOfMemory { n_tokens })?;
        }
        self.has_logits = false;
        run(&self.model, &self.team, &mut self.memory, Batch { tokens, first, n_wanted });
        self.tokens.extend_from_slice(tokens);
        self.has_logits = n_wanted > 0;
        Ok(())
    }

    fn count(&mut self, n_tokens: usize, time: Duration) {
        if n_tokens > 1 {
            self.timings.n_prompt += n_tokens;
            self.timings.prompt += time;
        } else {
            self.timings.n_eval += n_tokens;
            self.timings.eval += time;
        }
    }
}
