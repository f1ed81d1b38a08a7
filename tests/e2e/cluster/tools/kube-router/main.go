// The network policy controller of kube-router, by itself: its command would also build its router and its proxy, which
// take minutes and are not wanted here. It takes the same options.
package main

import (
	"flag"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/cloudnativelabs/kube-router/v2/pkg/utils"
	"github.com/spf13/pflag"
	core "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	klog.OsExit = beginAnew
	config := options.NewKubeRouterConfig()
	config.AddFlags(pflag.CommandLine)
	pflag.Parse()
	klog.InitFlags(nil)
	must(flag.Set("v", config.VLevel))
	address, err := clientcmd.BuildConfigFromFlags(config.Master, config.Kubeconfig)
	must(err)
	client, err := kubernetes.NewForConfig(address)
	must(err)
	run(config, client)
}

func run(config *options.KubeRouterConfig, client kubernetes.Interface) {
	node, err := utils.GetNodeObject(client, config.HostnameOverride)
	must(err)
	nodeIP, err := utils.GetPrimaryNodeIP(node)
	must(err)
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	must(pods.SetTransform(placeOn(nodeIP.String())))

	iptables, ipsets, err := netpol.NewIPTablesHandlers(config)
	must(err)
	var ipsetsInUse sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(
		client, config, pods, policies, namespaces, &ipsetsInUse, iptables, ipsets)
	must(err)
	watch(pods, controller.PodEventHandler)
	watch(policies, controller.NetworkPolicyEventHandler)
	watch(namespaces, controller.NamespaceEventHandler)

	forever := make(chan struct{})
	factory.Start(forever)
	factory.WaitForCacheSync(forever)
	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range heartbeats { // nobody asks for its health
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	controller.Run(heartbeats, forever, &running)
}

// beginAnew does what the kubelet does for kube-router's pod: the controller ends itself at the first command that fails.
func beginAnew(int) {
	time.Sleep(time.Second)
	program, err := os.Executable()
	if err == nil {
		_ = syscall.Exec(program, os.Args, os.Environ())
	}
	os.Exit(1)
}

// placeOn lets every pod appear to be on one node. A controller cares for the pods of its own node and removes what it
// finds of others; here all nodes are in one network namespace and have their rules in the same tables.
func placeOn(nodeIP string) cache.TransformFunc {
	return func(object any) (any, error) {
		if pod, ok := object.(*core.Pod); ok && pod.Status.HostIP != "" {
			pod.Status.HostIP = nodeIP
		}
		return object, nil
	}
}

func watch(informer cache.SharedIndexInformer, handler cache.ResourceEventHandler) {
	_, err := informer.AddEventHandler(handler)
	must(err)
}

func must(err error) {
	if err != nil {
		klog.Fatal(err)
	}
}
