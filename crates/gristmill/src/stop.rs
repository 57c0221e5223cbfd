//! Stop texts in a stream: text that may yet turn out to be the beginning of a stop text is held back.

/// Watches a stream of text for the first of several stop texts.
pub(crate) struct StopFilter<'a> {
    stops: &'a [String],
    held: String,
}

impl<'a> StopFilter<'a> {
    /// A filter for these texts; empty ones are ignored.
    pub(crate) fn new(stops: &'a [String]) -> StopFilter<'a> {
        StopFilter { stops, held: String::new() }
    }

    /// Takes more of the stream. Gives what may be shown now, and whether a stop text was met; it and what follows
    /// are never shown.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let stops = || self.stops.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = stops().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = stops().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is still held back when the stream ends.
    pub(crate) fn finish(self) -> String {
        self.held
    }
}

/// Bytes of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(index, _)| index)
        .filter(|&len| text.ends_with(&stop[..len]))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut filter = StopFilter::new(&stops);
        let mut shown = String::new();
        for piece in pieces {
            let (text, stopped) = filter.push(piece);
            shown.push_str(&text);
            if stopped {
                return (shown, true);
            }
        }
        shown.push_str(&filter.finish());
        (shown, false)
    }

    #[test]
    fn a_stop_text_over_several_pieces_is_never_shown() {
        assert_eq!(stream(&["\nUser:"], &["Hi.", "\n", "Us", "er: more"]), ("Hi.".into(), true));
    }

    #[test]
    fn what_only_looked_like_a_stop_text_is_shown() {
        assert_eq!(stream(&["END"], &["E", "N", "TER"]), ("ENTER".into(), false));
        assert_eq!(stream(&["END"], &["the EN"]), ("the EN".into(), false));
    }

    #[test]
    fn the_first_stop_text_in_the_stream_counts() {
        assert_eq!(stream(&["b", "a"], &["xab"]), ("x".into(), true));
        assert_eq!(stream(&["éa", ""], &["né", "a"]), ("n".into(), true));
    }
}
