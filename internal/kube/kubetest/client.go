package kubetest

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Client makes requests to the API server of a Cluster, as one user.
type Client struct {
	cluster          *Cluster
	token, namespace string
}

// object is a JSON object.
type object map[string]any

// Namespace makes a namespace with the labels and returns its name, which is random.
func (c *Cluster) Namespace(tb testing.TB, labels map[string]string) string {
	tb.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:10])
	c.Do(tb, http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"name": name, "labels": labels}}, nil)
	return name
}

// As returns a client that makes requests as the ServiceAccount account, with a token from the API
// server. If the account is missing, As creates it.
func (c *Cluster) As(tb testing.TB, namespace, account string) *Client {
	tb.Helper()
	path := "/api/v1/namespaces/" + namespace + "/serviceaccounts"
	if status, answer := c.Try(tb, http.MethodPost, path, object{"metadata": object{"name": account}}); status != http.StatusCreated && status != http.StatusConflict {
		tb.Fatalf("making the ServiceAccount %s: %d %s", account, status, answer)
	}
	var request struct{ Status struct{ Token string } }
	c.Do(tb, http.MethodPost, path+"/"+account+"/token", object{"spec": object{"expirationSeconds": 3600}}, &request)
	return &Client{cluster: c, token: request.Status.Token, namespace: namespace}
}

// ServiceAccount returns the path of a kubeconfig of the ServiceAccount account. The kubeconfig
// uses the account's namespace. If the account is missing, ServiceAccount creates it.
func (c *Cluster) ServiceAccount(tb testing.TB, namespace, account string) string {
	tb.Helper()
	return c.As(tb, namespace, account).Kubeconfig(tb)
}

// Kubeconfig returns the path of a kubeconfig of this user. The file exists until the test
// ends.
func (c *Client) Kubeconfig(tb testing.TB) string {
	tb.Helper()
	context := object{"cluster": "test", "user": "test"}
	if c.namespace != "" {
		context["namespace"] = c.namespace
	}
	text, err := json.Marshal(object{ // JSON is valid YAML
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []object{{"name": "test", "cluster": object{
			"server": c.cluster.URL, "certificate-authority": c.cluster.file("certs/apiserver.crt"),
		}}},
		"users":    []object{{"name": "test", "user": object{"token": c.token}}},
		"contexts": []object{{"name": "test", "context": context}},
	})
	must(tb, err)
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	must(tb, os.WriteFile(path, text, 0o600))
	return path
}

// Do sends a request. path is, for example, "/api/v1/namespaces". If body is not nil, Do sends
// body as JSON. If out is not nil, Do decodes the answer into out. Do fails the test on any status
// other than 2xx.
func (c *Client) Do(tb testing.TB, method, path string, body, out any) {
	tb.Helper()
	status, answer := c.Try(tb, method, path, body)
	if status/100 != 2 {
		tb.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			tb.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// Try sends a request that may be refused. It returns the status and the body of the answer.
// It fails the test only if there is no answer.
func (c *Client) Try(tb testing.TB, method, path string, body any) (status int, answer []byte) {
	tb.Helper()
	var content []byte
	var kind string
	if body != nil {
		var err error
		content, err = json.Marshal(body)
		must(tb, err)
		kind = "application/json"
	}
	status, answer, err := c.answer(method, path, kind, content)
	must(tb, err)
	return status, answer
}

// Get reads the object at path into out. It returns false if the object does not exist.
func (c *Client) Get(tb testing.TB, path string, out any) bool {
	tb.Helper()
	status, answer := c.Try(tb, http.MethodGet, path, nil)
	switch status {
	case http.StatusNotFound:
		return false
	case http.StatusOK:
		must(tb, json.Unmarshal(answer, out))
		return true
	}
	tb.Fatalf("GET %s: %d %s", path, status, answer)
	return false
}

// In returns a client of the same user. If an object names no namespace, the client uses the given
// namespace.
func (c *Client) In(namespace string) *Client {
	in := *c
	in.namespace = namespace
	return &in
}

// Apply applies the documents of the manifest, as kubectl apply --server-side does.
func (c *Client) Apply(tb testing.TB, manifest string) {
	tb.Helper()
	c.Each(tb, manifest, func(path string, o map[string]any) {
		tb.Helper()
		body, err := json.Marshal(o)
		must(tb, err)
		status, answer, err := c.answer(http.MethodPatch, path+"?force=true&fieldManager=kubetest", "application/apply-patch+yaml", body)
		must(tb, err)
		if status/100 != 2 {
			tb.Fatalf("applying %s: %d %s", path, status, answer)
		}
	})
}

// Delete deletes the objects of the manifest.
func (c *Client) Delete(tb testing.TB, manifest string) {
	tb.Helper()
	c.Each(tb, manifest, func(path string, _ map[string]any) {
		tb.Helper()
		c.Do(tb, http.MethodDelete, path, nil, nil)
	})
}

// Each calls do with each object of the manifest and the object's path in the API. If an
// object names no namespace, Each uses the client's namespace, or "default" if the client has
// no namespace.
func (c *Client) Each(tb testing.TB, manifest string, do func(path string, o map[string]any)) {
	tb.Helper()
	for d := yaml.NewDecoder(strings.NewReader(manifest)); ; {
		var o map[string]any
		switch err := d.Decode(&o); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			tb.Fatalf("the manifest: %v\n%s", err, manifest)
		case o == nil:
			continue
		}
		path, err := c.path(o)
		must(tb, err)
		do(path, o)
	}
}

// path returns the path of the object in the API. It asks the server for the resource name of
// the object's kind.
func (c *Client) path(o map[string]any) (string, error) {
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	metadata, _ := o["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	root := "/apis/" + version
	if !strings.Contains(version, "/") {
		root = "/api/" + version
	}
	_, answer, err := c.answer(http.MethodGet, root, "", nil)
	if err != nil {
		return "", err
	}
	var list struct {
		Resources []struct {
			Name, Kind string
			Namespaced bool
		}
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return "", fmt.Errorf("the resources of %s: %w", root, err)
	}
	for _, r := range list.Resources {
		switch {
		case r.Kind != kind || strings.Contains(r.Name, "/"):
		case !r.Namespaced:
			return root + "/" + r.Name + "/" + name, nil
		default:
			return root + "/namespaces/" + cmp.Or(namespace, c.namespace, "default") + "/" + r.Name + "/" + name, nil
		}
	}
	return "", fmt.Errorf("%s has no kind %s", root, kind)
}

// answer sends a request, and returns the status and the body of the answer. An error means that
// there was no answer.
func (c *Client) answer(method, path, contentType string, body []byte) (int, []byte, error) {
	resp, err := c.send(method, path, contentType, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func (c *Client) send(method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequest(method, c.cluster.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return c.cluster.http.Do(req)
}
