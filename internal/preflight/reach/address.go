// Package reach checks that both sides can be reached, that groupsync has the rights that a
// pass needs and no more, and that ClearML shows its groups without contradiction.
package reach

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"groupsync/internal/preflight"
	"groupsync/internal/transport"
)

// Address is the address of Keycloak or of ClearML, and how its certificate is checked.
type Address struct {
	Side               string // keycloak or clearml: the first part of the names of the checks and of the configuration keys
	URL                string
	CAFile             string
	InsecureSkipVerify bool
}

// stepLimit is how long each of the two checks of an address may take.
const stepLimit = 5 * time.Second

// soon is how long before the end of a certificate the check begins to warn.
const soon = 14 * 24 * time.Hour

// checks returns the check of the host name in DNS and the check of the certificate. The other
// checks of the same server depend on these two.
func (a Address) checks() []preflight.Check {
	return []preflight.Check{
		{Name: a.Side + "-dns", Run: a.dns},
		{Name: a.Side + "-tls", After: []string{a.Side + "-dns"}, Run: a.tls},
	}
}

// proxy returns the proxy that the environment (HTTPS_PROXY and others) sets for requests to the
// address. It returns nil if there is no proxy.
func (a Address) proxy() *url.URL {
	req, err := http.NewRequest(http.MethodGet, a.URL, nil)
	if err != nil {
		return nil // this does not happen, because the configuration has checked the URL
	}
	through, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil
	}
	return through
}

func (a Address) host() string {
	if u, err := url.Parse(a.URL); err == nil {
		return u.Hostname()
	}
	return ""
}

func (a Address) dns(ctx context.Context) []preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	host, through := a.host(), ""
	if p := a.proxy(); p != nil {
		host, through = p.Hostname(), " of the proxy that HTTP_PROXY or HTTPS_PROXY names"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return preflight.Fine(fmt.Sprintf("the host%s is the IP address %s, so DNS is not needed", through, host))
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		why := err.Error()
		var d *net.DNSError
		if errors.As(err, &d) {
			why = d.Err
		}
		return []preflight.Finding{preflight.Fail(fmt.Sprintf("DNS has no address for the host %s%s (%s)", host, through, why),
			fmt.Sprintf("check the host in %s.url, and the DNS settings of the machine or pod", a.Side))}
	}
	const most = 4
	var addresses []string
	for _, ip := range found[:min(len(found), most)] {
		addresses = append(addresses, ip.Unmap().String())
	}
	slices.Sort(addresses)
	return preflight.Fine(fmt.Sprintf("the host %s%s has the address %s", host, through, strings.Join(slices.Compact(addresses), ", ")))
}

func (a Address) tls(ctx context.Context) []preflight.Finding {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if !strings.HasPrefix(a.URL, "https:") {
		return a.plain()
	}
	state, err := a.handshake(ctx)
	why, refused := a.refusedCertificate(err)
	switch {
	case a.InsecureSkipVerify && refused:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("groupsync accepts any certificate (%s.insecure_skip_verify). Without that setting groupsync would refuse this certificate: %s", a.Side, why.Seen), why.Advice+fmt.Sprintf("; then remove %s.insecure_skip_verify", a.Side))}
	case refused:
		return []preflight.Finding{why}
	case err != nil:
		return []preflight.Finding{preflight.Fail(fmt.Sprintf("no TLS connection to %s: %v", a.URL, err), fmt.Sprintf("check %s.url, its port, and the firewalls between groupsync and the server", a.Side))}
	case a.InsecureSkipVerify:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("groupsync accepts any certificate (%s.insecure_skip_verify), although this certificate is valid", a.Side), fmt.Sprintf("remove %s.insecure_skip_verify", a.Side))}
	}
	return expiry(state, time.Now())
}

// plain returns the finding for an address without TLS. If requests do not leave the machine,
// the finding is OK.
func (a Address) plain() []preflight.Finding {
	if !transport.InTheClear(a.URL) {
		return preflight.Fine("plain HTTP, which does not leave this machine")
	}
	return []preflight.Finding{preflight.Warn(fmt.Sprintf("groupsync sends its secret and its tokens over plain HTTP to %s. Anybody on the network between them can read these", a.host()),
		fmt.Sprintf("put an https:// address into %s.url", a.Side))}
}

// handshake makes one request with the HTTP client that groupsync uses everywhere, and returns the
// state of the TLS connection. It verifies the certificate even if insecure_skip_verify is set.
func (a Address) handshake(ctx context.Context) (*tls.ConnectionState, error) {
	client, err := transport.New(transport.Options{CAFile: a.CAFile, Timeout: stepLimit})
	if err != nil {
		return nil, err
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	_ = resp.Body.Close()
	return resp.TLS, nil
}

// refusedCertificate returns a finding that says why the client refused the certificate of the
// server. It returns false if err has another cause.
func (a Address) refusedCertificate(err error) (preflight.Finding, bool) {
	var failed *tls.CertificateVerificationError
	if !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0 {
		return preflight.Finding{}, false
	}
	cert := failed.UnverifiedCertificates[0]
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return preflight.Fail(fmt.Sprintf("the certificate is for %s, and not for %s", namesOf(cert), a.host()),
			fmt.Sprintf("put a host that the certificate names into %s.url, or give the server a certificate that names %s", a.Side, a.host())), true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return preflight.Fail(outOfTime(invalid.Cert, time.Now()), "renew the certificate on the server, and check the clock of this machine"), true
	case errors.As(err, &unknown):
		what := fmt.Sprintf("the certificate was not issued by an authority that groupsync trusts; the issuer is %q", cert.Issuer)
		if a.CAFile != "" {
			what += fmt.Sprintf(", and %s.ca_file does not contain the issuer", a.Side)
		}
		return preflight.Fail(what, fmt.Sprintf("put the PEM of that authority into %s.ca_file. If the authority is a public one, the server does not send the intermediate certificate. Configure the server to send the complete chain", a.Side)), true
	}
	return preflight.Fail(fmt.Sprintf("the certificate is not valid: %v", failed.Err), "give the server a valid certificate"), true
}

// outOfTime returns a sentence for a certificate that has expired or is not valid yet.
func outOfTime(cert *x509.Certificate, now time.Time) string {
	if now.Before(cert.NotBefore) {
		return fmt.Sprintf("the certificate of %s is valid only from %s on", subject(cert), cert.NotBefore.UTC().Format(time.DateOnly))
	}
	return fmt.Sprintf("the certificate of %s expired on %s", subject(cert), cert.NotAfter.UTC().Format(time.DateOnly))
}

// namesOf returns the DNS names and IP addresses in the certificate, at most five.
func namesOf(cert *x509.Certificate) string {
	const most = 5
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "no host"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func subject(cert *x509.Certificate) string { return fmt.Sprintf("%q", cert.Subject) }

// expiry warns if a certificate of the chain ends soon. It looks at the certificate that ends
// first.
func expiry(state *tls.ConnectionState, now time.Time) []preflight.Finding {
	if state == nil || len(state.VerifiedChains) == 0 {
		return []preflight.Finding{preflight.Warn("groupsync could not complete this check: the connection has no verified certificate chain", "check the proxies between groupsync and the server")}
	}
	chain := state.VerifiedChains[0]
	first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	if left := first.NotAfter.Sub(now); left < soon {
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("the certificate of %s ends on %s, in %d days. After that groupsync makes no pass", subject(first), first.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24)),
			"renew the certificate, and check why it was not renewed automatically")}
	}
	return preflight.Fine(fmt.Sprintf("%s, a certificate chain to %s that is valid until %s", tls.VersionName(state.Version), subject(chain[len(chain)-1]), first.NotAfter.UTC().Format(time.DateOnly)))
}
