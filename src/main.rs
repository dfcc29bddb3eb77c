//! The gateway's executable: arguments in, exit status out.

fn main() {}
