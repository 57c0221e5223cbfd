//! Chat templates: Jinja that comes with the model and is not trusted.
//!
//! Templates run in minijinja, which has no way to files, network or the program's memory, with a bound on their
//! steps. What a template may use is what Hugging Face's `apply_chat_template` gives it: `messages`,
//! `add_generation_prompt`, the texts of the special tokens, `raise_exception`, Python's string methods and `tojson`.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};

/// Steps that a template may take; real ones take a few thousand.
const FUEL: u64 = 1_000_000;

/// One message of a conversation.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: &'static str,
    /// The text.
    pub(crate) content: String,
}

/// A model's chat template.
pub(crate) struct Template {
    source: String,
    bos: String,
    eos: String,
}

impl Template {
    /// A template with the texts of the model's special tokens.
    pub(crate) fn new(source: &str, bos: Option<String>, eos: Option<String>) -> Template {
        Template {
            source: source.into(),
            bos: bos.unwrap_or_default(),
            eos: eos.unwrap_or_default(),
        }
    }

    /// The text of a conversation, ready for the answer.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        // As transformers configures Jinja.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role, content => message.content.as_str() })
            .collect();
        environment
            .render_str(
                &self.source,
                context! {
                    messages => messages,
                    add_generation_prompt => true,
                    bos_token => self.bos.as_str(),
                    eos_token => self.eos.as_str(),
                },
            )
            .map_err(|error| {
                format!(
                    "the model's chat template fails: {error:#}; --no-chat continues plain text"
                )
            })
    }

    /// The rendered text without the BOS in front, for tokenizers that add it themselves.
    pub(crate) fn render_for(
        &self,
        messages: &[Message],
        adds_bos: bool,
    ) -> Result<String, String> {
        let text = self.render(messages)?;
        match text.strip_prefix(&self.bos) {
            Some(rest) if adds_bos && !self.bos.is_empty() => Ok(rest.to_string()),
            _ => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'].strip() }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    fn user(text: &str) -> Vec<Message> {
        vec![Message { role: "user", content: text.into() }]
    }

    #[test]
    fn renders_a_conversation_and_python_methods() {
        let template = Template::new(CHATML, None, None);
        assert_eq!(
            template.render(&user(" Hi ")).unwrap(),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn the_bos_is_not_doubled() {
        let template =
            Template::new("{{ bos_token }}{{ messages[0].content }}", Some("<s>".into()), None);
        assert_eq!(template.render_for(&user("x"), true).unwrap(), "x");
        assert_eq!(template.render_for(&user("x"), false).unwrap(), "<s>x");
    }

    #[test]
    fn an_endless_template_is_stopped() {
        let endless =
            "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
        assert!(Template::new(endless, None, None).render(&user("x")).is_err());
    }

    #[test]
    fn a_template_may_refuse() {
        let template = Template::new("{{ raise_exception('roles must alternate') }}", None, None);
        assert!(template.render(&user("x")).unwrap_err().contains("roles must alternate"));
    }
}
