"""Bundle + gallery -> HTTP and gRPC. Imports reid, never training or export, and torch only when a site is
adapted."""
