# Images and the cluster for the end-to-end tests; included by the Makefile at the top.
CLUSTER := tests/e2e/cluster/cluster
NODES ?= 1

.PHONY: images
images: .venv/dev.stamp ## build localhost/loadstone-operator:dev, -runner:dev and -target:dev
	@$(CLUSTER) deps
	@$(CLUSTER) base
	@$(CLUSTER) images

.PHONY: cluster
cluster: .venv/dev.stamp ## boot a real Kubernetes cluster with the chart installed (NODES=1)
	@$(CLUSTER) ensure $(NODES)
	@echo "The cluster is up. Reach it with    $(CLUSTER) exec kubectl get ldt -A"
	@echo "and take it down with               make cluster-down"

.PHONY: cluster-down
cluster-down: ## stop the cluster and remove its state
	@$(CLUSTER) down
