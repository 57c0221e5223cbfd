//! A text in progress: the tokens so far, what attention keeps of them, and the threads that work on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_kernels::{CacheType, KvCache, Team};
use smallvec::SmallVec;

use crate::cores::physical_cores;
use crate::execute::{Batch, Memory, Text, run};
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
    caches: Vec<KvCache>,
    tokens: Vec<TokenId>,
    logits: Logits,
    /// Logits that were computed along with those of other sessions.
    together: Vec<f32>,
    timings: Timings,
}

/// Where the logits after the last token are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Logits {
    /// Not known.
    Nowhere,
    /// The last of those in memory.
    Last,
    /// In a buffer that [`feed_together`] filled.
    Together,
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
            memory: Memory::new(model.plan(), deterministic),
            caches,
            together: Vec::new(),
            team: Team::new(n_threads.max(1)),
            n_ctx,
            n_batch: n_batch.max(1),
            tokens: Vec::new(),
            logits: Logits::Nowhere,
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
        match self.logits {
            Logits::Nowhere => None,
            Logits::Last => {
                let all = self.memory.logits(&self.model);
                Some(&all[all.len() - self.model.n_vocab()..])
            }
            Logits::Together => Some(&self.together),
        }
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
            self.logits = Logits::Nowhere;
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

    /// Makes room for `n_tokens` more tokens.
    fn reserve(&mut self, n_tokens: usize) -> Result<()> {
        let n_tokens = self.n_past() + n_tokens;
        let mut caches = self.caches.iter_mut();
        caches
            .try_for_each(|cache| cache.reserve(n_tokens))
            .map_err(|_| Error::OutOfMemory { n_tokens })
    }

    /// Appends one batch.
    fn run(&mut self, tokens: &[TokenId], n_wanted: usize) -> Result<()> {
        self.reserve(tokens.len())?;
        self.logits = Logits::Nowhere;
        let (first, n_tokens) = (self.n_past(), tokens.len());
        let mut texts = [Text { caches: &mut self.caches, first, n_tokens }];
        let batch = Batch { tokens, texts: &mut texts, n_wanted };
        run(&self.model, &self.team, &mut self.memory, batch);
        self.tokens.extend_from_slice(tokens);
        if n_wanted > 0 {
            self.logits = Logits::Last;
        }
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

/// Appends to each of several sessions of one model its token of `tokens`, and gives each its
/// [`logits`](Session::logits): weights are read once for all of them. The threads are those of the first session.
///
/// Each gets the same logits as if it had been fed alone, to the last bit; of F16 and BF16 weights only with
/// [`SessionOptions::deterministic`].
///
/// # Errors
/// As [`Session::feed`], with all sessions unchanged; [`Error::NotTogether`] when there is not a token for each session
/// or they are of different models.
pub fn feed_together(sessions: &mut [&mut Session], tokens: &[TokenId]) -> Result<()> {
    let [first, others @ ..] = &mut *sessions else { return Err(Error::NoTokens) };
    let is_one_model = others.iter().all(|other| Arc::ptr_eq(&first.model, &other.model));
    if tokens.len() != others.len() + 1 || !is_one_model {
        return Err(Error::NotTogether);
    }
    let started = Instant::now();
    for (session, token) in sessions.iter_mut().zip(tokens) {
        session.begin(std::slice::from_ref(token))?;
        session.reserve(1)?;
    }
    let [first, others @ ..] = &mut *sessions else { return Err(Error::NoTokens) };
    let first = &mut **first;
    let mut all: SmallVec<[Text<'_>; 8]> = SmallVec::new();
    all.push(Text { first: first.tokens.len(), caches: &mut first.caches, n_tokens: 1 });
    for other in others.iter_mut() {
        all.push(Text { first: other.tokens.len(), caches: &mut other.caches, n_tokens: 1 });
    }
    let batch = Batch { tokens, texts: &mut all, n_wanted: tokens.len() };
    run(&first.model, &first.team, &mut first.memory, batch);
    drop(all);
    let n_vocab = first.model.n_vocab();
    let logits = first.memory.logits(&first.model);
    let rows = logits[logits.len() - tokens.len() * n_vocab..].chunks_exact(n_vocab);
    let buffers = others.iter_mut().map(|other| &mut other.together);
    for (buffer, row) in std::iter::once(&mut first.together).chain(buffers).zip(rows) {
        buffer.clear();
        buffer.extend_from_slice(row);
    }
    let elapsed = started.elapsed();
    for (session, &token) in sessions.iter_mut().zip(tokens) {
        session.tokens.push(token);
        session.logits = Logits::Together;
        session.count(1, elapsed);
    }
    Ok(())
}
