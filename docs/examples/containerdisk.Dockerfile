# The container image with Ringlet's disk that kubevirt.yaml boots. From the top of the repository:
#
#   make image
#   docker build -t registry.example.com/ringlet:latest -f docs/examples/containerdisk.Dockerfile build
#   docker push registry.example.com/ringlet:latest
#
# 107 is the user qemu in KubeVirt's pods. Not run.
FROM scratch
ADD --chown=107:107 ringlet.qcow2 /disk/
