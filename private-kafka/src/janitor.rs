//! Cleans up behind us, also when we are killed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::Error;

/// Waits on a pipe that closes when we end, then ends the broker and removes its folder, which is
/// `$0`. The number is read at the end, since the broker may have been restarted.
const CLEAN_UP: &str = r#"
cat >/dev/null
pid=$(cat "$0/broker.pid" 2>/dev/null)
# A number that was given to another process since is left alone.
if [ -n "$pid" ] && tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$0/server.properties"; then
  kill -KILL "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do tries=$((tries+1)); sleep 0.1; done
fi
rm -rf "$0"
"#;

#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Janitor {
    pub(crate) fn hire(dir: &Path) -> Result<Self, Error> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", CLEAN_UP]).arg(dir).process_group(0).current_dir("/");
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().map(Self).map_err(Error::io("cannot run", Path::new("/bin/sh")))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing to do about a janitor that cannot be waited for: the folder is a temporary one.
        let _ended = self.0.wait();
    }
}
