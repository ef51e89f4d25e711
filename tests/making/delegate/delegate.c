/* A TensorFlow Lite external delegate, small and real: it takes over every DEQUANTIZE of a model
 * (the last operator of a bundle, int8 to float32) and computes it itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   cc -shared -fPIC -DDRIFT=0.0f delegate.c -o exact.so      computes as the CPU does
 *   cc -shared -fPIC -DDRIFT=0.5f delegate.c -o drifting.so   is off by as much, up and down in turns
 *   cc -shared -fPIC -DDIES_AFTER=3 delegate.c -o dying.so    gives NaN from its fourth run on
 *   cc -shared -fPIC -DREFUSES    delegate.c -o refusing.so   takes no model
 *
 * The declarations below are the binary interface of TensorFlow Lite on 64-bit Linux and macOS, as
 * far as it is used here; fields that are not touched have a name only to keep the place.
 */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef DRIFT
#define DRIFT 0.0f
#endif

enum { OK = 0, ERROR = 1, INT8 = 9, DEQUANTIZE = 6 };

typedef struct { int size; int data[]; } IntArray;

typedef struct Tensor {
  int type;
  void *data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } quantization;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  struct Delegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct { int type; void *params; } newer_quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;

typedef struct Node {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  /* more follows */
} Node;

typedef struct Context Context;

typedef struct Registration {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *external, *async_kernel;
  uint64_t inplace_operator;
} Registration;

typedef struct Delegate {
  void *data;
  int (*prepare)(Context *, struct Delegate *);
  void *copy_from_buffer, *copy_to_buffer, *free_buffer;
  int64_t flags;
  void *opaque_builder;
} Delegate;

struct Context {
  size_t tensors_size;
  int (*get_execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  void *resize_tensor, *report_error, *add_tensors;
  int (*get_node_and_registration)(Context *, int, Node **, Registration **);
  int (*replace_nodes)(Context *, Registration, const IntArray *, Delegate *);
  /* more follows */
};

static int invocations = 0;

/* How often this library computed something: the tests see by it that it was used. */
int delegate_invocations(void) { return invocations; }

static int prepare_kernel(Context *context, Node *node) {
  return context->tensors[node->inputs->data[0]].type == INT8 ? OK : ERROR;
}

static int invoke_kernel(Context *context, Node *node) {
  const Tensor *input = &context->tensors[node->inputs->data[0]];
  Tensor *output = &context->tensors[node->outputs->data[0]];
  const int8_t *codes = input->data;
  float *values = output->data;
  for (size_t i = 0; i < input->bytes; i++)
    values[i] = input->quantization.scale * (float)(codes[i] - input->quantization.zero_point) +
                (i % 2 ? DRIFT : -DRIFT);
#ifdef DIES_AFTER
  if (invocations >= DIES_AFTER)
    for (size_t i = 0; i < input->bytes; i++) values[i] = NAN;
#endif
  invocations++;
  return OK;
}

static int prepare_delegate(Context *context, Delegate *delegate) {
#ifdef REFUSES
  return ERROR;
#endif
  IntArray *plan;
  if (context->get_execution_plan(context, &plan) != OK) return ERROR;
  IntArray *claimed = malloc(sizeof(IntArray) + sizeof(int) * (size_t)plan->size);
  claimed->size = 0;
  for (int i = 0; i < plan->size; i++) {
    Node *node;
    Registration *registration;
    if (context->get_node_and_registration(context, plan->data[i], &node, &registration) != OK)
      continue;
    if (registration->builtin_code == DEQUANTIZE) claimed->data[claimed->size++] = plan->data[i];
  }
  Registration kernel = {.prepare = prepare_kernel,
                         .invoke = invoke_kernel,
                         .builtin_code = 51, /* DELEGATE */
                         .custom_name = "PocketLensTestDelegate",
                         .version = 1};
  int status = context->replace_nodes(context, kernel, claimed, delegate);
  free(claimed);
  return status;
}

Delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                        size_t count, void (*report_error)(const char *)) {
  (void)keys, (void)values, (void)count, (void)report_error;
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->prepare = prepare_delegate;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
