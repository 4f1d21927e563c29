//! Named mixes of request classes.

use std::sync::Arc;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::length::{LengthLaw, RawLength, TokenCount};
use super::text;

/// The mixes that ship, by the text of their files. The first is the default.
const SHIPPED: [(&str, &str); 1] = [("mixed-v1", include_str!("mixed-v1.toml"))];

/// A mix as its file writes it; what the digest covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMix {
    name: String,
    class: Vec<RawClass>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClass {
    name: String,
    /// Weight among the classes; they need not add up to 100.
    share: f64,
    prompt_tokens: RawLength,
    output_tokens: RawLength,
}

/// A named mix of classes of requests, each with its own lengths.
#[derive(Debug, Clone)]
pub(super) struct Mix {
    raw: RawMix,
    classes: Vec<Class>,
    shares: f64,
}

#[derive(Debug, Clone)]
struct Class {
    name: Arc<str>,
    share: f64,
    prompt_tokens: LengthLaw,
    output_tokens: LengthLaw,
}

/// What a mix draws for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) class: Arc<str>,
    pub(super) prompt_tokens: TokenCount,
    pub(super) output_tokens: TokenCount,
}

impl Mix {
    /// The name of the mix that is used where none is named.
    pub(super) const DEFAULT: &str = SHIPPED[0].0;

    /// A mix that ships; `None` if none has this name.
    pub(super) fn shipped(name: &str) -> Option<Self> {
        let (_, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Self::parse(text).expect("the mixes that ship parse, which a test holds"))
    }

    /// The names of the mixes that ship.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let raw: RawMix = toml::from_str(text).map_err(|error| error.to_string())?;
        let classes = raw
            .class
            .iter()
            .map(|class| {
                Ok(Class {
                    name: class.name.as_str().into(),
                    share: class.share,
                    prompt_tokens: class.prompt_tokens.try_into()?,
                    output_tokens: class.output_tokens.try_into()?,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        if classes.is_empty() {
            return Err("a mix has at least one class".to_string());
        }
        for class in &raw.class {
            let name = &class.name;
            if class.share.is_nan() || class.share <= 0.0 {
                return Err(format!("the share of `{name}` is not above 0"));
            }
            if class.prompt_tokens.min() < text::SHORTEST {
                return Err(format!("the shortest prompts of `{name}` would repeat"));
            }
        }
        let shares = classes.iter().map(|class| class.share).sum();
        Ok(Self {
            raw,
            classes,
            shares,
        })
    }

    /// What the file says, for the digest.
    pub(super) const fn definition(&self) -> &RawMix {
        &self.raw
    }

    /// The mix's name.
    pub(super) fn name(&self) -> &str {
        &self.raw.name
    }

    /// Class and lengths that this generator's next draws give.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Draw {
        let mut at = rng.random::<f64>() * self.shares;
        let chosen = self.classes.iter().find(|class| {
            at -= class.share;
            at < 0.0
        });
        // Rounding may leave a grain past the last share.
        let class = chosen.unwrap_or(&self.classes[self.classes.len() - 1]);
        Draw {
            class: Arc::clone(&class.name),
            prompt_tokens: class.prompt_tokens.sample(rng),
            output_tokens: class.output_tokens.sample(rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeMap;

    #[test]
    fn every_mix_that_ships_parses_under_its_own_name() {
        for name in Mix::names() {
            assert_eq!(Mix::shipped(name).expect("it ships").name(), name);
        }
        assert!(Mix::shipped("mixed-v0").is_none());
    }

    #[test]
    fn classes_come_up_by_their_shares() {
        let mix = Mix::shipped(Mix::DEFAULT).expect("it ships");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = BTreeMap::new();
        for _ in 0..100_000 {
            *counts
                .entry(mix.draw(&mut rng).class.to_string())
                .or_insert(0) += 1;
        }
        let share = |class: &str| f64::from(counts[class]) / 100_000.0;
        for (class, expected) in [
            ("chat", 0.60),
            ("retrieval", 0.20),
            ("writing", 0.15),
            ("document", 0.05),
        ] {
            let found = share(class);
            assert!((found - expected).abs() < 0.01, "{class}: {found}");
        }
        assert_eq!(counts.len(), 4);
    }

    #[test]
    fn the_default_mix_fits_a_context_of_4096_tokens() {
        let mix = Mix::shipped(Mix::DEFAULT).expect("it ships");
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..100_000 {
            let draw = mix.draw(&mut rng);
            assert!(draw.prompt_tokens.get() + draw.output_tokens.get() <= 3_100);
        }
    }

    #[test]
    fn mixes_that_make_no_sense_are_refused() {
        let check = |text: &str, why: &str| {
            let message = Mix::parse(text).expect_err("no mix");
            assert!(message.contains(why), "{message}");
        };
        check("name = 'x'\nclass = []", "at least one class");
        check("name = 'x'\nclas = []", "unknown field `clas`");
        check(
            "name = 'x'\n[[class]]\nname = 'a'\nshare = 0\n\
             prompt_tokens = { median = 8, sigma = 0, min = 8, max = 9 }\n\
             output_tokens = { median = 8, sigma = 0, min = 1, max = 9 }",
            "the share of `a` is not above 0",
        );
        check(
            "name = 'x'\n[[class]]\nname = 'a'\nshare = 1\n\
             prompt_tokens = { median = 8, sigma = 0, min = 7, max = 9 }\n\
             output_tokens = { median = 8, sigma = 0, min = 1, max = 9 }",
            "the shortest prompts of `a` would repeat",
        );
    }
}
