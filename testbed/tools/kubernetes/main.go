// The components of a Kubernetes node as one program, which is whichever it was started as. Their own programs
// share most of their packages: linking them once instead of five times saves minutes on a new machine.
//
// Each function is what the main package of the component does; see k8s.io/kubernetes/cmd.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // for time zones in CronJob

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // for the registration of the JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // for the registration of the client's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // for the registration of the version's metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := filepath.Base(os.Args[0])
	component, known := components[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s is not a component: start this program as one of kube-apiserver, "+
			"kube-controller-manager, kube-proxy, kube-scheduler and kubelet\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(component()))
}
