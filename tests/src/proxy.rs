//! A proxy between a client and a server that loses what it is told to lose.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::Notify;

/// What the proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes everything on.
    Pass = 0,
    /// Passes requests on, and cuts the connection instead of giving the next answer.
    LoseAnswer = 1,
    /// Cuts the connection instead of passing the next request on.
    LoseRequest = 2,
    /// Takes no connection.
    Refuse = 3,
}

/// A proxy in front of a Postgres that listens on a Unix socket.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    mode: Arc<AtomicU8>,
    cut: Arc<Notify>,
}

impl Proxy {
    /// Starts a proxy in front of that socket.
    pub async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let cut = Arc::new(Notify::new());
        let proxy = Self { address, mode: Arc::clone(&mode), cut: Arc::clone(&cut) };
        let this = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if this.is(Mode::Refuse) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                tokio::spawn(this.clone().carry(client, server));
            }
        });
        proxy
    }

    /// Does that from here on. A mode that loses something falls back to passing once it has.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
        if mode == Mode::Refuse {
            self.cut.notify_waiters();
        }
    }

    /// Is it still in that mode?
    #[must_use]
    pub fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    fn falls_back(&self, from: Mode) -> bool {
        let pass = Mode::Pass as u8;
        self.mode.compare_exchange(from as u8, pass, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    async fn carry(self, client: tokio::net::TcpStream, server: UnixStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        // Only the log writer's connection loses anything; its name is in its first message.
        let mut writer = None;
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                () = self.cut.notified() => return,
                read = from_client.read(&mut up) => {
                    let Ok(count @ 1..) = read else { return };
                    let writer = *writer.get_or_insert_with(|| names_writer(&up[..count]));
                    if writer && self.falls_back(Mode::LoseRequest) {
                        return;
                    }
                    if to_server.write_all(&up[..count]).await.is_err() {
                        return;
                    }
                }
                read = from_server.read(&mut down) => {
                    let Ok(count @ 1..) = read else { return };
                    if writer == Some(true) && self.falls_back(Mode::LoseAnswer) {
                        return;
                    }
                    if to_client.write_all(&down[..count]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn names_writer(startup: &[u8]) -> bool {
    let name = b"accrue log writer";
    startup.windows(name.len()).any(|window| window == name)
}
