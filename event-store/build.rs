//! A migration that is added is compiled in, without another change to this crate.

fn main() {
    println!("cargo:rerun-if-changed=../schemas/migrations");
}
