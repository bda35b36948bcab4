// CoreDNS with the plug-ins that the testbed's Corefile names, instead of all of them with the clients of every cloud.
// It is in the module of Kubernetes so that the two share packages: the oldest version that compiles with this client-go,
// as it raises the least of what Kubernetes was released with.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	coremain.Run()
}
