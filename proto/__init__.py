"""Wire contracts; the generated code beside each `.proto` is made by scripts/proto.sh."""
