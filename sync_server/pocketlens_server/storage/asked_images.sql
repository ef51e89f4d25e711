-- SPDX-License-Identifier: Apache-2.0
-- Requests of images that wait, and of those that could not be embedded: where such an image is
-- dropped its request may come again. '' for none, and for what waited before there were these.

ALTER TABLE waiting_images ADD COLUMN request TEXT NOT NULL DEFAULT '';

ALTER TABLE dead_letters ADD COLUMN request TEXT NOT NULL DEFAULT '';
