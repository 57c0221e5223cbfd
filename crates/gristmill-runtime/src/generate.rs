//! Writing: feed, sample, feed what was sampled, and so on.

use crate::{Error, Result, Sampler, Session, TokenId};

impl Session {
    /// Feeds `prompt` and then yields sampled tokens, each of which is fed only when the next one is asked for.
    ///
    /// An empty prompt continues from where the session is. The iterator ends after an error, one of which is that the
    /// context is full; stop it otherwise as any iterator, with `take` or [`until`](Generate::until).
    ///
    /// ```no_run
    /// # fn example(session: &mut gristmill_runtime::Session, prompt: &[u32], eos: u32) -> gristmill_runtime::Result<()> {
    /// use gristmill_runtime::{Chain, SamplerOptions};
    ///
    /// let mut sampler = Chain::new(SamplerOptions::default());
    /// for token in session.generate(&mut sampler, prompt).until(&[eos]).take(100) {
    ///     println!("{}", token?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn generate<'s, S: Sampler + ?Sized>(
        &'s mut self,
        sampler: &'s mut S,
        prompt: &[TokenId],
    ) -> Generate<'s, S> {
        prompt.iter().for_each(|&token| sampler.accept(token));
        Generate {
            session: self,
            sampler,
            pending: prompt.to_vec(),
            stop: Vec::new(),
            ended: false,
        }
    }
}

/// The tokens of [`Session::generate`].
pub struct Generate<'s, S: ?Sized> {
    session: &'s mut Session,
    sampler: &'s mut S,
    /// What is to be fed before the next token can be sampled.
    pending: Vec<TokenId>,
    stop: Vec<TokenId>,
    ended: bool,
}

impl<S: ?Sized> Generate<'_, S> {
    /// The same, ending before any of the tokens `stop`, which is neither yielded nor fed.
    pub fn until(mut self, stop: &[TokenId]) -> Self {
        self.stop = stop.to_vec();
        self
    }
}

impl<S: Sampler + ?Sized> Generate<'_, S> {
    fn step(&mut self) -> Result<TokenId> {
        if !self.pending.is_empty() {
            self.session.feed(&self.pending)?;
            self.pending.clear();
        }
        let logits = self.session.logits().ok_or(Error::NoTokens)?;
        Ok(self.sampler.sample(logits))
    }
}

impl<S: Sampler + ?Sized> Iterator for Generate<'_, S> {
    type Item = Result<TokenId>;

    fn next(&mut self) -> Option<Result<TokenId>> {
        if self.ended {
            return None;
        }
        let result = self.step();
        self.ended = !result.as_ref().is_ok_and(|token| !self.stop.contains(token));
        if let Ok(token) = result {
            if self.ended {
                return None;
            }
            self.sampler.accept(token);
            self.pending.push(token);
        }
        Some(result)
    }
}
