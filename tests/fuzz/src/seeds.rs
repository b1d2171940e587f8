//! Writes every target's seeds, and the inputs that ever failed, where `cargo fuzz run` looks for them: `cargo +nightly run --bin seeds`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in fuzz::bodies::TARGETS {
        let corpus = root.join("corpus").join(target.name);
        fs::create_dir_all(&corpus)?;
        for (index, seed) in (target.seeds)().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{index}")), seed)?;
        }
        let Ok(found) = fs::read_dir(root.join("regressions").join(target.name)) else { continue };
        for entry in found {
            let entry = entry?;
            fs::copy(entry.path(), corpus.join(entry.file_name()))?;
        }
    }
    Ok(())
}
