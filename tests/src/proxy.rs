//! A proxy between a client and a server that loses what it is told to lose.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What the proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes requests on, and cuts the connection instead of giving the next answer.
    LoseAnswer,
    /// Cuts the connection instead of passing the next request on.
    LoseRequest,
    /// Takes no connection, and cuts those that it has.
    Refuse,
    /// Cuts the connections that it has, and takes new ones, which wait for another mode.
    Hold,
    /// As a machine that has vanished: passes nothing on any more, and cuts nothing, until another
    /// mode.
    Freeze,
}

/// A proxy in front of a Postgres that listens on a Unix socket.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    socket: Arc<watch::Sender<PathBuf>>,
    mode: Arc<watch::Sender<Mode>>,
    cuts: Arc<watch::Sender<u64>>,
    held: Arc<AtomicUsize>,
    stuck: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a proxy in front of that socket.
    pub async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let socket = Arc::new(watch::Sender::new(socket));
        let proxy = Self {
            address,
            socket,
            mode,
            cuts: Arc::default(),
            held: Arc::default(),
            stuck: Arc::default(),
        };
        let this = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if this.is(Mode::Refuse) {
                    continue;
                }
                tokio::spawn(this.clone().carry(client));
            }
        });
        proxy
    }

    /// Leads new connections to that socket; those that there are stay where they are.
    pub fn lead(&self, socket: PathBuf) {
        self.socket.send_replace(socket);
    }

    /// Does that from here on. A mode that loses something falls back to passing once it has.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        if matches!(mode, Mode::Refuse | Mode::Hold) {
            self.cuts.send_modify(|count| *count += 1);
        }
    }

    /// Is it still in that mode?
    #[must_use]
    pub fn is(&self, mode: Mode) -> bool {
        *self.mode.borrow() == mode
    }

    /// How many connections were ever held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// How many requests of the log writer were ever frozen.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.stuck.load(Ordering::SeqCst)
    }

    /// Waits until the mode lets something pass; `new`: on a new connection.
    async fn lets_pass(&self, new: bool) {
        let stands = |mode: &Mode| *mode == Mode::Freeze || (new && *mode == Mode::Hold);
        let mut mode = self.mode.subscribe();
        drop(mode.wait_for(|mode| !stands(mode)).await);
    }

    fn falls_back(&self, from: Mode) -> bool {
        self.mode.send_if_modified(|mode| {
            let falls_back = *mode == from;
            if falls_back {
                *mode = Mode::Pass;
            }
            falls_back
        })
    }

    async fn carry(self, client: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        if matches!(*self.mode.borrow(), Mode::Hold | Mode::Freeze) {
            self.held.fetch_add(1, Ordering::SeqCst);
        }
        self.lets_pass(true).await;
        let socket = self.socket.borrow().clone();
        let Ok(server) = UnixStream::connect(socket).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        // Only the log writer's connection loses anything; its name is in its first message.
        let mut writer = None;
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                _ = cuts.changed() => return,
                read = from_client.read(&mut up) => {
                    let Ok(count @ 1..) = read else { return };
                    let writer = *writer.get_or_insert_with(|| names_writer(&up[..count]));
                    if writer && self.falls_back(Mode::LoseRequest) {
                        return;
                    }
                    if writer && self.is(Mode::Freeze) {
                        self.stuck.fetch_add(1, Ordering::SeqCst);
                    }
                    self.lets_pass(false).await;
                    if to_server.write_all(&up[..count]).await.is_err() {
                        return;
                    }
                }
                read = from_server.read(&mut down) => {
                    let Ok(count @ 1..) = read else { return };
                    if writer == Some(true) && self.falls_back(Mode::LoseAnswer) {
                        return;
                    }
                    self.lets_pass(false).await;
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
