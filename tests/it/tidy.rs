//! House rules that no lint knows.

use crate::workspace;

/// Files past 500 lines, each with the reason why it is one idea all the same.
const LONG: [(&str, &str); 2] = [
    (
        "executor/src/load/profile/tests.rs",
        "one small case for each key and each shipped profile",
    ),
    (
        "executor/src/verdict/tests.rs",
        "one small case for each rule and each border of it",
    ),
];

const LONGEST: usize = 500;

#[test]
fn modules_are_named_files() {
    let found: Vec<String> = workspace::files(&["/mod.rs"]);
    assert!(
        found.is_empty(),
        "name the concept instead of `mod.rs`: {found:?}"
    );
}

#[test]
fn no_folder_or_file_is_a_drawer() {
    let drawers = ["utils", "util", "helpers", "common", "misc", "manager"];
    let found: Vec<String> = workspace::files(&[".rs"])
        .into_iter()
        .filter(|path| {
            path.trim_end_matches(".rs")
                .split('/')
                .any(|part| drawers.contains(&part))
        })
        .collect();
    assert!(found.is_empty(), "name the concept: {found:?}");
}

#[test]
fn long_files_have_a_reason() {
    let long: Vec<String> = workspace::files(&[".rs"])
        .into_iter()
        .filter(|path| workspace::text(path).lines().count() > LONGEST)
        .collect();
    for path in &long {
        let reason = LONG.iter().find(|(listed, _)| listed == path);
        assert!(reason.is_some(), "{path} has more than {LONGEST} lines");
    }
    for (path, _) in LONG {
        assert!(
            long.iter().any(|found| found == path),
            "{path} is no longer long"
        );
    }
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    refuse_in_code(&["#[allow(", "#![allow("]);
}

#[test]
fn tests_do_not_sleep() {
    let tests: Vec<(String, String)> = sources()
        .into_iter()
        .map(|(path, text)| {
            let whole = path.starts_with("tests/") || path.contains("/tests/");
            let part = if whole {
                Some(0)
            } else {
                text.find("#[cfg(test)]\nmod tests")
            };
            let tests = part.map_or(String::new(), |start| text[start..].to_owned());
            (path, tests)
        })
        .collect();
    refuse(&tests, &["thread::sleep("]);
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let texts: Vec<(String, String)> =
        workspace::files(&[".rs", ".md", ".toml", ".yml", ".sql", ".slt", "/run"])
            .into_iter()
            .map(|path| (path.clone(), workspace::text(&path)))
            .collect();
    let checkout = format!("{}/", workspace::root().display());
    let home = format!(
        "{}/",
        std::env::var("HOME").expect("a machine that builds has a home")
    );
    refuse(&texts, &[&checkout, &home]);
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let root = workspace::root();
    for path in workspace::files(&[".md"]) {
        let text = workspace::text(&path);
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap_or(target);
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let folder = root.join(&path);
            let folder = folder.parent().expect("a file lies in a folder");
            assert!(
                folder.join(file).exists(),
                "{path} links to `{target}`, which is not there"
            );
        }
    }
}

/// Our Rust files apart from this one, whose text holds what it looks for.
fn sources() -> Vec<(String, String)> {
    workspace::files(&[".rs"])
        .into_iter()
        .filter(|path| path != "tests/it/tidy.rs")
        .map(|path| (path.clone(), workspace::text(&path)))
        .collect()
}

fn refuse_in_code(marks: &[&str]) {
    refuse(&sources(), marks);
}

fn refuse(texts: &[(String, String)], marks: &[&str]) {
    for (path, text) in texts {
        for (number, line) in text.lines().enumerate() {
            for mark in marks {
                assert!(!line.contains(mark), "{path}:{}: `{mark}`", number + 1);
            }
        }
    }
}

#[test]
#[should_panic(expected = "a.rs:2: `#[allow(`")]
fn a_refused_mark_is_reported_with_its_line() {
    let text = "fn f() {}\n#[allow(dead_code)]\n".to_owned();
    refuse(&[("a.rs".to_owned(), text)], &["#[allow("]);
}
