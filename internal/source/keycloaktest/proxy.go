package keycloaktest

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// LDAPProxy forwards connections between Keycloak and an LDAP server. It counts requests and
// can delay both directions.
type LDAPProxy struct {
	URL string // ldap://127.0.0.1:port

	backend  string
	listener net.Listener

	toServer, toClient atomic.Int64 // time.Duration
	searches, binds    atomic.Int64

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	work   sync.WaitGroup
}

// Proxy starts a proxy in front of the server for the test. A federation uses the proxy if
// FederationOptions.Through names it.
func (l *LDAP) Proxy(tb testing.TB) *LDAPProxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	p := &LDAPProxy{
		URL:     "ldap://" + listener.Addr().String(),
		backend: strings.TrimPrefix(l.URL, "ldap://"), listener: listener, conns: map[net.Conn]bool{},
	}
	p.work.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// SetLatency sets the delay of bytes to the LDAP server, and the delay of bytes back to the
// client. A request takes longer by the sum of both delays. The delays apply to bytes that arrive
// after the call.
func (p *LDAPProxy) SetLatency(toServer, toClient time.Duration) {
	p.toServer.Store(int64(toServer))
	p.toClient.Store(int64(toClient))
}

// Searches returns the number of search requests since the start or the last Reset. Each
// page of a search counts as a request.
func (p *LDAPProxy) Searches() int { return int(p.searches.Load()) }

// Binds returns the number of bind requests since the start or the last Reset.
func (p *LDAPProxy) Binds() int { return int(p.binds.Load()) }

// Reset sets the counts to 0.
func (p *LDAPProxy) Reset() { p.searches.Store(0); p.binds.Store(0) }

func (p *LDAPProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.backend)
		if err != nil {
			_ = client.Close() // no LDAP server is running
			continue
		}
		if !p.keep(client, server) {
			return
		}
		var both sync.WaitGroup
		both.Go(func() { p.forward(server, client, &p.toServer, &messages{each: p.count}) })
		both.Go(func() { p.forward(client, server, &p.toClient, nil) })
		p.work.Go(func() { both.Wait(); p.drop(client, server) })
	}
}

// keep registers the connections. If the proxy is closed, keep closes them and returns
// false.
func (p *LDAPProxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return !p.closed
}

func (p *LDAPProxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *LDAPProxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

// forward copies bytes until one side ends. It writes each chunk after the latency that
// applied when the chunk was read. The delays of successive chunks overlap.
func (p *LDAPProxy) forward(to, from net.Conn, latency *atomic.Int64, parse io.Writer) {
	type chunk struct {
		due   time.Time
		bytes []byte
	}
	queue := make(chan chunk, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		defer to.Close()
		for c := range queue {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.bytes); err != nil {
				_ = from.Close() // ends the loop below, which reads from it
			}
		}
	})
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			if parse != nil {
				_, _ = parse.Write(buffer[:n])
			}
			queue <- chunk{time.Now().Add(time.Duration(latency.Load())), buffer[:n]}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	writer.Wait()
}

func (p *LDAPProxy) count(operation byte) {
	switch operation {
	case bindRequest:
		p.binds.Add(1)
	case searchRequest:
		p.searches.Add(1)
	}
}

// Tags of LDAP operations (RFC 4511): APPLICATION 0 and 3, constructed.
const (
	bindRequest   = 0x60
	searchRequest = 0x63
)

// messages is a writer that splits the bytes of one direction into LDAP messages. A message
// can arrive in several writes, and a write can hold several messages. For every complete
// message, Write calls the function in the field each with the operation's tag. After bytes that
// are not LDAP, Write ignores all further bytes.
type messages struct {
	each func(operation byte)

	pending []byte
	broken  bool
}

func (m *messages) Write(b []byte) (int, error) {
	if m.broken {
		return len(b), nil
	}
	m.pending = append(m.pending, b...)
	for {
		operation, size, err := parseMessage(m.pending)
		if errors.Is(err, errShort) {
			return len(b), nil
		}
		if err != nil {
			m.broken, m.pending = true, nil
			return len(b), nil
		}
		m.each(operation)
		m.pending = m.pending[size:]
	}
}

var (
	errShort   = errors.New("the message is not complete yet")
	errNotLDAP = errors.New("the bytes are no LDAP message")
)

// parseMessage returns the tag of the operation in the first message, and the size of that
// message. An LDAPMessage (RFC 4511) is a SEQUENCE. It begins with the message's id, which is an
// INTEGER. The operation follows.
func parseMessage(b []byte) (operation byte, size int, err error) {
	head, length, err := parseElement(b, 0x30)
	if err != nil {
		return 0, 0, err
	}
	size = head + length
	if len(b) < size {
		return 0, 0, errShort
	}
	body := b[head:size]
	head, length, err = parseElement(body, 0x02)
	if err != nil || head+length >= len(body) {
		return 0, 0, errNotLDAP
	}
	return body[head+length], size, nil
}

// parseElement reads the tag and the length of a BER element, the unit of LDAP's encoding. It
// returns an error if the element has another tag than the argument. head is the number of bytes
// that tag and length take. length is the number of bytes that follow.
func parseElement(b []byte, tag byte) (head, length int, err error) {
	if len(b) > 0 && b[0] != tag {
		return 0, 0, errNotLDAP
	}
	if len(b) < 2 {
		return 0, 0, errShort
	}
	if b[1] < 0x80 {
		return 2, int(b[1]), nil
	}
	n := int(b[1] & 0x7f)
	if n == 0 || n > 4 {
		return 0, 0, errNotLDAP
	}
	if len(b) < 2+n {
		return 0, 0, errShort
	}
	for _, digit := range b[2 : 2+n] {
		length = length<<8 | int(digit)
	}
	return 2 + n, length, nil
}
