package keycloaktest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"groupsync/internal/processtest"
)

// node holds the settings of one server of a cluster.
type node struct {
	database    string // file of the database that the nodes share, without the suffix
	port        int    // port of the cluster's connections
	failurePort int    // port of the connections by which the nodes monitor each other
}

// StartCluster starts two nodes with one database and a shared cache. It takes about twice
// as long as Start. The nodes communicate on loopback only.
func StartCluster(tb testing.TB) (a, b *Server) {
	tb.Helper()
	skipShort(tb)
	o := Options{}
	o.Version = o.version()
	if o.before(2601) {
		tb.Skipf("Keycloak %s has no cluster stack that finds the other node on loopback", o.Version)
	}
	from, err := prepared(o)
	must(tb, err)
	home := tb.TempDir()
	must(tb, os.CopyFS(filepath.Join(home, "data"), os.DirFS(filepath.Join(from, "data"))))
	var nodes [2]*Server
	for i := range nodes {
		n, err := newNode(filepath.Join(home, "data", "h2", "keycloakdb"))
		must(tb, err)
		o.node = n
		nodes[i], err = launch(filepath.Join(from, "dist"), filepath.Join(home, strconv.Itoa(i)), o)
		if err != nil {
			tb.Fatalf("starting node %d of a cluster: %v", i, err)
		}
		tb.Cleanup(func() {
			if err := nodes[i].close(); err != nil {
				tb.Errorf("stopping node %d of a cluster: %v", i, err)
			}
		})
	}
	return nodes[0], nodes[1]
}

func newNode(database string) (*node, error) {
	one, err := processtest.FreePort()
	if err != nil {
		return nil, err
	}
	other, err := processtest.FreePort()
	if err != nil {
		return nil, err
	}
	// JGroups, the cluster library, needs the second port as a positive offset from the first.
	return &node{database: database, port: min(one, other), failurePort: max(one, other)}, nil
}

// properties returns the Java options with the addresses and ports of a node. The nodes share one
// file of the database H2. The first node that opens the file gives the other node access over TCP.
func (n *node) properties() []string {
	return []string{
		"-Dh2.bindAddress=127.0.0.1", "-Djgroups.bind.address=127.0.0.1",
		"-Djgroups.bind.port=" + strconv.Itoa(n.port),
		"-Djgroups.fd.port-offset=" + strconv.Itoa(n.failurePort-n.port),
	}
}

// arguments returns the arguments of Keycloak's command start that make a server a node.
func (n *node) arguments() []string {
	return []string{
		"--cache=ispn", "--cache-stack=jdbc-ping",
		"--db-url=jdbc:h2:file:" + n.database + ";NON_KEYWORDS=VALUE;AUTO_SERVER=TRUE;WRITE_DELAY=0",
	}
}

// On returns the same realm on another node of its cluster. Requests for the result go to the
// server s.
func (r *Realm) On(s *Server) *Realm {
	on := *r
	on.Server = s
	return &on
}
