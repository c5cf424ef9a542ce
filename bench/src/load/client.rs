//! One keep-alive connection.

use super::response::{Malformed, ResponseReader};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpSocket, TcpStream};

/// A request up to this size fits the socket's buffers, so writing it cannot wait for the server.
const WRITE_FIRST_BYTES: usize = 16 * 1024;
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// The connection broke, or what came was not HTTP: the fate of the request is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: TcpStream,
    inbox: Box<[u8]>,
    reader: ResponseReader,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = open(address).await?;
        let inbox = vec![0; READ_BUFFER_BYTES].into_boxed_slice();
        Ok(Self { address, stream, inbox, reader: ResponseReader::default() })
    }

    pub(crate) async fn reconnect(&mut self) -> io::Result<()> {
        self.stream = open(self.address).await?;
        self.reader = ResponseReader::default();
        Ok(())
    }

    /// Sends a request and reads its response to the end; the status.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        body: &mut impl FnMut(&[u8]),
    ) -> Result<u16, Lost> {
        let (mut read, mut write) = self.stream.split();
        let answer = receive(&mut read, &mut self.inbox, &mut self.reader, body);
        let mut written = request.len() <= WRITE_FIRST_BYTES;
        let answer = if written {
            write.write_all(request).await?;
            answer.await?
        } else {
            let send = async {
                write.write_all(request).await?;
                written = true;
                std::future::pending::<io::Result<()>>().await
            };
            // A large request is read while it is written: the server answers line by line.
            tokio::select! {
                biased;
                sent = send => Err(Lost::from(sent.err().unwrap_or(io::ErrorKind::Other.into()))),
                answer = answer => answer,
            }?
        };
        if answer.close || !written {
            self.reconnect().await?;
        }
        Ok(answer.status)
    }

    /// As `exchange`, with the body kept.
    pub(crate) async fn fetch(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>), Lost> {
        let mut kept = Vec::new();
        let status = self.exchange(request, &mut |part| kept.extend_from_slice(part)).await?;
        Ok((status, kept))
    }

    /// A plain GET, for all that is not measured.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, Vec<u8>), Lost> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.fetch(request.as_bytes()).await
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    // Everything is on one machine, where a control of congestion that paces (BBR, where a system
    // has it as its default) is of no use and takes processor time from the server.
    #[cfg(target_os = "linux")]
    let _kept = rustix::net::sockopt::set_tcp_congestion(&socket, "reno");
    socket.connect(address).await
}

async fn receive(
    read: &mut ReadHalf<'_>,
    inbox: &mut [u8],
    reader: &mut ResponseReader,
    body: &mut impl FnMut(&[u8]),
) -> Result<super::response::Answer, Lost> {
    loop {
        let length = read.read(inbox).await?;
        if length == 0 {
            return Err(Lost::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        // One request is in flight, so nothing can follow its response.
        if let (_, Some(answer)) = reader.feed(&inbox[..length], body)? {
            return Ok(answer);
        }
    }
}
