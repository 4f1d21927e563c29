//! The text of a prompt: words without meaning that never come twice in the same order.

use std::sync::LazyLock;

use rand::Rng;

/// Common English words, each one token (with the space before it) in the tokenizers of the
/// GPT-2, Llama 2, Llama 3, Gemma, Qwen, Phi, DeepSeek, Falcon and Command R families, so that
/// words asked are tokens sent, but for the few tokens of the server's chat template.
pub(super) const WORD_LIST: &str = include_str!("words.txt");

/// Bits that one word of the list stands for.
const BITS_PER_WORD: u32 = 10;
const WORDS: usize = 1 << BITS_PER_WORD;

static WORD: LazyLock<[&str; WORDS]> = LazyLock::new(|| {
    let words: Vec<&str> = WORD_LIST.split_ascii_whitespace().collect();
    words
        .try_into()
        .expect("the list that ships has 1024 words, which a test holds")
});

/// Words that name a request: 7 of 10 bits hold the 64 bits of its name.
const NAME_WORDS: u32 = u64::BITS.div_ceil(BITS_PER_WORD);

/// The fewest words of a prompt: those that make it differ from all others.
pub(super) const SHORTEST: u32 = NAME_WORDS + 1;

/// What the prompt asks for, at its end, so that no two prompts begin alike. Without it many
/// models answer a list of words in one short sentence.
const REQUEST: &str = "Tell a very long story that has all of these words in it";
const REQUEST_WORDS: u32 = 13;
/// Prompts below this length are words alone.
const SHORTEST_WITH_REQUEST: u32 = SHORTEST + 2 * REQUEST_WORDS;

/// A prompt of so many words, which begins with the words that `name` stands for.
///
/// Two names never give the same prompt, nor do prompts share more of their beginning than chance
/// has it: 1 in 1024 share one word, 1 in a million two.
pub(super) fn prompt(name: u64, words: u32, rng: &mut impl Rng) -> String {
    let mut text = String::with_capacity(words as usize * 8);
    // The last word of the name is filled up at random.
    let mut bits = (u128::from(rng.next_u64()) << u64::BITS) | u128::from(name);
    for _ in 0..NAME_WORDS.min(words) {
        push(&mut text, bits as u32);
        bits >>= BITS_PER_WORD;
    }
    let with_request = words >= SHORTEST_WITH_REQUEST;
    let request_words = if with_request { REQUEST_WORDS } else { 0 };
    let mut left = words.saturating_sub(NAME_WORDS + request_words);
    while left > 0 {
        let mut bits = rng.next_u32();
        for _ in 0..left.min(u32::BITS / BITS_PER_WORD) {
            push(&mut text, bits);
            bits >>= BITS_PER_WORD;
            left -= 1;
        }
    }
    if with_request {
        text.push_str(". ");
        text.push_str(REQUEST);
    }
    text
}

/// Appends the word that the lowest bits stand for.
fn push(text: &mut String, bits: u32) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(WORD[bits as usize % WORDS]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashSet;

    fn of(name: u64, words: u32) -> String {
        prompt(name, words, &mut ChaCha8Rng::seed_from_u64(5))
    }

    #[test]
    fn the_list_has_1024_different_words_of_small_letters() {
        let words: HashSet<&str> = WORD.iter().copied().collect();
        assert_eq!(words.len(), WORDS);
        assert!(
            words
                .iter()
                .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        );
    }

    #[test]
    fn as_many_words_as_asked() {
        for words in [SHORTEST, 9, 10, 33, 34, 35, 100, 2560] {
            let text = of(1, words);
            assert_eq!(text.split(' ').count(), words as usize, "{text}");
        }
        assert_eq!(REQUEST.split(' ').count(), REQUEST_WORDS as usize);
    }

    #[test]
    fn long_prompts_end_in_a_request_and_short_ones_do_not() {
        assert!(of(1, SHORTEST_WITH_REQUEST).ends_with(REQUEST));
        assert!(!of(1, SHORTEST_WITH_REQUEST - 1).contains(REQUEST));
    }

    #[test]
    fn the_first_words_are_the_name() {
        let first = |name| {
            let text = of(name, 8);
            text.split(' ').next().map(str::to_string)
        };
        assert_eq!(first(0).as_deref(), Some(WORD[0]));
        assert_eq!(first(1023).as_deref(), Some(WORD[1023]));
        // Names that differ in the highest bit alone differ in the seventh word.
        let (low, high) = (of(0, 8), of(1 << 63, 8));
        assert_ne!(low, high);
        let same = low
            .split(' ')
            .zip(high.split(' '))
            .take_while(|(a, b)| a == b);
        assert_eq!(same.count(), 6);
    }
}
